import { readFileSync, readdirSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { complaint, gracewalk, ROOT } from './in-process.ts';

interface List {
  readonly schema: string;
  readonly bugs: readonly {
    readonly id: string;
    readonly title: string | null;
    readonly citation: string | null;
    readonly story: string | null;
  }[];
  readonly waiting: readonly { readonly id: string; readonly waits: string }[];
}

let list: List;
beforeAll(async () => {
  list = JSON.parse((await gracewalk(['bugs', '--json'])).stdout) as List;
});

test('every scenario of the museum is listed, with its title, its source and its story', () => {
  const files = readdirSync(`${ROOT}/scenarios/bugs`).filter((file) => file.endsWith('.ts'));
  expect(list.bugs.map(({ id }) => `${id}.ts`).toSorted()).toEqual(files.toSorted());
  for (const { id, title, citation, story } of list.bugs) {
    expect(title, id).toBeTruthy();
    expect(citation, id).toBeTruthy();
    expect(story?.length, id).toBeGreaterThan(100);
  }
});

test('a bug waits as long as it has no scenario, and says for what', () => {
  const index = JSON.parse(readFileSync(`${ROOT}/scenarios/bugs/index.json`, 'utf8')) as object;
  const shown = new Set(list.bugs.map(({ id }) => id));
  const expected = Object.keys(index).filter((id) => !shown.has(id));
  expect(list.waiting.map(({ id }) => id)).toEqual(expected);
  for (const { id, waits } of list.waiting) {
    expect(id).toMatch(/^[a-z0-9-]+$/);
    expect(waits.length, id).toBeGreaterThan(10);
  }
});

describe('gracewalk bugs kvm-pv-flush-lost', () => {
  test('tells the story, shows each failing form, and the fixed one safe', async () => {
    const { code, stdout, stderr } = await gracewalk(['bugs', 'kvm-pv-flush-lost']);
    expect(stdout).toMatch(
      /^A guest TLB flush that the host never does\n\nlinux commits b043138246a4/,
    );
    expect(stdout).toMatch(/^ {2}fixed +safe/m);
    expect(stdout.match(/!!! stale-translation$/gm)).toHaveLength(2);
    for (const line of stdout.split('\n')) {
      if (!line.startsWith('Replay: ')) expect(line.length).toBeLessThanOrEqual(75);
    }
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('--json is the document of check', async () => {
    const { stdout } = await gracewalk(['bugs', 'kvm-pv-flush-lost', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 'gracewalk.result/1', ok: true });
  });
});

test('a bug that waits, and one that is not known, are errors', async () => {
  expect(await complaint(['bugs', 'uffd-wp-vs-exit'], ROOT)).toContain('[E125]');
  expect(await complaint(['bugs', 'kvm-pv-flush-los'], ROOT)).toMatchInlineSnapshot(`
    "error: no bug 'kvm-pv-flush-los' is known
    help: did you mean kvm-pv-flush-lost?                               [E125]
    exit 2"
  `);
});
