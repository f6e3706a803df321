import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { ROOT, fixture, gracewalk } from './gracewalk.ts';

let token: string;
beforeAll(async () => {
  const args = ['check', fixture('counter'), '--variant', 'two steps', '--json'];
  const { stdout } = await gracewalk(args);
  token = (JSON.parse(stdout) as { results: { token: string }[] }).results[0]?.token ?? '';
});

async function stepped(...lines: string[]): Promise<{ blocks: string[]; code: number | null }> {
  const { code, stdout, stderr } = await gracewalk(
    ['replay', token, fixture('counter'), '--step'],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      watch: (child) => {
        if (child.stdin?.writableEnded === false) child.stdin.end(lines.join('\n'));
      },
    },
  );
  expect(stderr).toBe('');
  return { blocks: stdout.split(/^(?=counter \/ two steps: step)/m), code };
}

const numbers = (blocks: readonly string[]): string[] =>
  blocks.map((block) => /step (\d+) of/.exec(block)?.[1] ?? '');

describe('where there is no terminal, --step reads lines', () => {
  test('it shows the first step, then goes where it is told', async () => {
    const { blocks, code } = await stepped('', 'j', 'k', 'G', 'g', '3', 'q', 'j');
    expect(numbers(blocks)).toEqual(['1', '2', '3', '2', '7', '1', '3']);
    expect(code).toBe(0);
  });

  test('n and N go to context switches, J and K stay on the CPU, ! goes to the failing step', async () => {
    const { blocks } = await stepped('n', 'N', 'g', 'J', '!', 'K');
    const columns = blocks.map((block) => /^\[(.*?)\]/m.exec(block)?.[1]);
    expect(columns[0]).toBe('CPU0');
    expect(columns[1]).toBe('CPU1');
    expect(columns[3]).toBe('CPU0');
    expect(blocks.some((block) => block.includes('!!! property'))).toBe(true);
  });

  test('each step says what it changed', async () => {
    const { blocks } = await stepped('/WRITE_ONCE(count');
    expect(blocks[0]).toContain('Nothing changes.');
    expect(blocks[1]).toContain('count: 0 => 1');
  });

  test('what it cannot do, it says, and stays', async () => {
    const { blocks } = await stepped('k', '99', 'zz', '/nowhere', '?', 'j');
    expect(blocks[0]).toContain('this is the first step');
    expect(blocks[0]).toContain('there is no step 99');
    expect(blocks[0]).toContain("'zz' is no command");
    expect(blocks[0]).toContain("no step has 'nowhere'");
    expect(blocks[0]).toContain('J  next step on this CPU');
    expect(numbers(blocks)).toEqual(['1', '2']);
  });
});

/** A terminal to try it in: a pseudo-terminal made by Python, where there is one. */
const PTY = `
import os, pty, select, signal, sys, termios
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[2], sys.argv[2:])
def until(text):
    seen = b''
    while text not in seen:
        if not select.select([fd], [], [], 20)[0]: raise SystemExit('nothing more: ' + repr(seen[-300:]))
        try: data = os.read(fd, 65536)
        except OSError: break
        seen += data
    return seen
until(b'step 1 of')
assert not termios.tcgetattr(fd)[3] & termios.ICANON, 'keys are not read one by one'
os.write(fd, b'j'); until(b'step 2 of')
os.write(fd, b'\\x1b[D'); until(b'step 1 of')
if sys.argv[1] == 'key': os.write(fd, b'\\x03')
else: os.kill(pid, signal.SIGTERM)
until(b'\\x1b[?1049l')
_, status = os.waitpid(pid, 0)
assert termios.tcgetattr(fd)[3] & termios.ICANON, 'the terminal is still raw'
print('exit', os.waitstatus_to_exitcode(status))
`;
const hasPty = spawnSync('python3', ['-c', 'import pty']).status === 0;

describe.runIf(hasPty)('on a terminal, --step reads keys', () => {
  test.each(['key', 'signal'])(
    'and leaves it as it was, ended by Ctrl-C or a signal: %s',
    (how) => {
      const command = [process.execPath, `${ROOT}/dist/cli/main.js`, 'replay', token];
      const { stdout, stderr } = spawnSync(
        'python3',
        ['-c', PTY, how, ...command, fixture('counter'), '--step'],
        { cwd: ROOT, encoding: 'utf8', timeout: 60_000 },
      );
      expect(stderr).toBe('');
      expect(stdout.trim()).toBe('exit 0');
    },
    60_000,
  );
});
