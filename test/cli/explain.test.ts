import { beforeAll, describe, expect, test } from 'vitest';
import { VIOLATION_KINDS } from '../../src/machine/violation.ts';
import { ERROR_CODES } from '../../src/cli/error-codes.ts';
import { topicNamed, topicText, topics } from '../../src/cli/explain-topics.ts';
import { sourceOfFunction } from '../../src/cli/kernel-source.ts';
import { complaint, gracewalk, page, ROOT } from './in-process.ts';

describe('every name that explain lists', () => {
  const all = topics();

  test('is listed once, and stands for itself', () => {
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    for (const topic of all) expect(topicNamed(topic.name)).toEqual(topic);
  });

  test('has a page with more than its name, in lines of 75 columns and source', () => {
    for (const topic of all) {
      const text = topicText(topic);
      expect(text.length, topic.name).toBeGreaterThan(80);
      expect(text, topic.name).not.toMatch(/It has no description/);
      for (const line of text.split('\n')) {
        if (line.startsWith('    ') || topic.kind === 'architecture') continue;
        expect(line.length, `${topic.name}: ${line}`).toBeLessThanOrEqual(75);
      }
    }
  });

  test('is in the list', async () => {
    const { stdout } = await gracewalk(['explain']);
    const words = new Set(stdout.split(/[\s,]+/));
    for (const { name } of all) expect(words).toContain(name);
  });
});

test('a function is shown whole, with its own comment and the head of its file', () => {
  const { name, file, says, protocol, source } = sourceOfFunction('call_rcu')!;
  expect(name).toBe('call_rcu');
  expect(file).toBe('src/kernel/kernel/rcu.ts');
  expect(says.join(' ')).toContain('after a grace period');
  expect(protocol.some((text) => text.startsWith('Guarantee:'))).toBe(true);
  expect(protocol.some((text) => text.startsWith('Mechanism:'))).toBe(true);
  expect(source.at(0)).toMatch(/^export const call_rcu = leaf\(/);
  expect(source.at(-1)).toMatch(/^\}?\);$/);
  expect(source.join('\n')).toContain('queue_callback');
});

test('every kind of violation has a meaning, and those that a built-in scenario shows name it', () => {
  for (const kind of VIOLATION_KINDS) expect(topicText(topicNamed(kind))).toContain('Look for: ');
  expect(topicText(topicNamed('use-after-free'))).toMatch(/show it:\n\n {4}[\w-]+ \/ \w/);
});

describe('an error is explained', () => {
  test('by its code and by what it says', () => {
    expect(topicNamed('E101')).toEqual({ kind: 'error', name: 'E101' });
    for (const text of [
      'local_irq_save() was called but never ran',
      'error: local_irq_save() was called but never ran',
      'spin loop in CPU1 makes no progress [E301]',
    ]) {
      expect(ERROR_CODES).toHaveProperty(topicNamed(text).name);
    }
    expect(topicNamed('local_irq_save() was called but never ran').name).toBe('E101');
  });

  test('with the one line that the documentation has of it', () => {
    const rows = [...page('docs/command-line.md').matchAll(/^\| (E\d{3}) \| (.*?) *\|$/gm)];
    const documented = Object.fromEntries(rows.map(([, code = '', about = '']) => [code, about]));
    expect(documented).toEqual(ERROR_CODES);
  });
});

describe('the command', () => {
  let json: { schema: string; kind: string; name: string; text: string };
  beforeAll(async () => {
    const { stdout } = await gracewalk(['explain', 'stale-translation', '--json']);
    json = JSON.parse(stdout) as typeof json;
  });

  test('--json has the page', () => {
    expect(json).toMatchObject({ schema: 'gracewalk.topic/1', kind: 'violation' });
    expect(json.text).toBe(topicText(topicNamed('stale-translation')));
  });

  test('what there is not gets a suggestion', async () => {
    expect(await complaint(['explain', 'local_irq_sav'], ROOT)).toMatchInlineSnapshot(`
      "error: nothing is known of 'local_irq_sav'
      note: architectures, machines, kinds of violation, functions, errors and
            their codes can be explained
      help: did you mean local_irq_save?                                  [E802]
      exit 2"
    `);
  });
});
