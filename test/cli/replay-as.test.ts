import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ROOT, gracewalk } from './in-process.ts';

/**
 * A run in its forms for other programs. `UPDATE_EXPECTED=1 npx vitest run test/cli/replay-as.test.ts` writes
 * the golden files anew.
 */

const FORMS = ['tagged', 'json', 'html', 'svg', 'perfetto'] as const;
type Form = (typeof FORMS)[number];
const RUNS = [
  ['targeted-ipi', 'smp_rmb'],
  ['gup-fast-vs-munmap', 'gup with irqs on'],
] as const;

const rendered = new Map<string, string>();

beforeAll(async () => {
  for (const [scenario, variant] of RUNS) {
    const { stdout } = await gracewalk(['check', scenario, '--variant', variant, '--json']);
    const { token } = (JSON.parse(stdout) as { results: { token: string }[] }).results[0]!;
    for (const form of FORMS) {
      const { code, stdout: text, stderr } = await gracewalk(['replay', token, '--as', form]);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      rendered.set(`${scenario} ${form}`, text);
    }
  }
}, 60_000);

function text(scenario: string, form: Form): string {
  return rendered.get(`${scenario} ${form}`) ?? '';
}

test.each(FORMS)('the form %s is its golden file', (form) => {
  const folder = join(ROOT, 'test/cli/golden');
  const file = join(folder, `targeted-ipi.${form}.txt`);
  // Lines of the library's sources move; which file a step is from does not.
  const now = text('targeted-ipi', form).replace(/\.ts:\d+"/g, '.ts:..."');
  if (process.env.UPDATE_EXPECTED) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, now);
  }
  expect(now).toBe(readFileSync(file, 'utf8'));
});

describe.each(RUNS)('%s as a page', (scenario) => {
  const page = (): string => text(scenario, 'html');

  test('needs no script, no network and no other file', () => {
    expect(page()).not.toMatch(/<script|<link|<img|<iframe|@import|url\((?!#)|\son\w+=/i);
    expect(page().replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/);
  });

  test('is a table that a screen reader can walk, with a header for every row and column', () => {
    const columns = [...page().matchAll(/<th scope="col">([^<]*)<\/th>/g)].map(([, name]) => name);
    expect(columns).toEqual(['Step', 'CPU0', 'CPU1', 'What it changes']);
    expect(page()).toMatch(/<table>\s*<caption>/);
    expect(page()).toContain('<html lang="en">');
    const rows = [...page().matchAll(/<tr id="step-\d+"[^>]*>.*?<\/tr>/gs)].map(([row]) => row);
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      expect(row.match(/<th scope="row">/g)).toHaveLength(1);
      expect(row.match(/<td[ >]/g)).toHaveLength(3);
    }
  });

  test('says what is wrong in words, dark and light, and how to see it again', () => {
    expect(page()).toContain('!!! use-after-free');
    expect(page()).toContain('color-scheme: light dark');
    expect(page()).toContain('prefers-color-scheme: dark');
    expect(page()).toContain(`gracewalk replay '${scenario}/`);
  });

  test('has balanced elements and only links to its own rows', () => {
    expect(unbalanced(page())).toEqual([]);
    const ids = new Set([...page().matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, target] of page().matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  });
});

describe.each(RUNS)('%s as a picture', (scenario) => {
  test('is well-formed, with a title and a description', () => {
    const svg = text(scenario, 'svg');
    expect(unbalanced(svg)).toEqual([]);
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" class="run" role="img"/);
    expect(svg).toMatch(/<title>.+<\/title>\n<desc>.+<\/desc>/);
    expect(svg).not.toMatch(/NaN|undefined|Infinity|-1"/);
  });

  test('has room for what its rows say', () => {
    const all = [...text(scenario, 'svg').matchAll(/<\/title>(.*?)<\/text>/g)];
    expect(all.length).toBeGreaterThan(10);
    for (const [, row = ''] of all) expect(row).not.toMatch(/\.\.\.$/);
  });

  test('has an arrow for each arrow of the run', () => {
    const arrows = steps(scenario).flatMap((step) => step.arrows ?? []);
    expect(arrows.length).toBeGreaterThan(0);
    expect(text(scenario, 'svg').match(/<path class="arrow"/g)).toHaveLength(arrows.length);
  });
});

test('an arrow for an interrupt leads from one lane to another', () => {
  const svg = text('gup-fast-vs-munmap', 'svg');
  const interrupt = /<path class="arrow" d="M(\d+) \d+ L(\d+) \d+"[^>]*><title>interrupt/.exec(svg);
  expect(interrupt?.[1]).not.toBe(interrupt?.[2]);
  expect(interrupt).not.toBeNull();
});

interface JsonStep {
  readonly n: number;
  readonly actor: string;
  readonly check?: boolean;
  readonly arrows?: readonly { readonly from: number; readonly kind: string }[];
}

function steps(scenario: string): JsonStep[] {
  return (JSON.parse(text(scenario, 'json')) as { steps: JsonStep[] }).steps;
}

/** Names of elements that are not closed, or closed without being open. */
function unbalanced(markup: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  const alone = new Set(['meta', 'br']);
  for (const [, close, name = '', self] of markup.matchAll(
    /<(\/?)([a-zA-Z][\w-]*)(?:[^<>]*?)(\/?)>/g,
  )) {
    if (self === '/' || alone.has(name)) continue;
    if (close === '') open.push(name);
    else if (open.pop() !== name) wrong.push(name);
  }
  return [...wrong, ...open];
}

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly id?: number;
  readonly cat?: string;
  readonly bp?: string;
  readonly args?: { readonly name?: string; readonly step?: number };
}

/** The rules of the Trace Event Format (the document of that name) that a viewer relies on. */
describe.each(RUNS)('%s as a trace', (scenario) => {
  let events: readonly TraceEvent[];
  const of = (ph: string): TraceEvent[] => events.filter((event) => event.ph === ph);
  const track = ({ pid, tid }: TraceEvent): string => `${pid}/${tid}`;

  beforeAll(() => {
    const trace = JSON.parse(text(scenario, 'perfetto')) as { traceEvents: TraceEvent[] };
    events = trace.traceEvents;
  });

  test('every event has a phase, a name, numbers for process and thread, and a time', () => {
    for (const event of events) {
      expect(['M', 'X', 's', 'f', 'i']).toContain(event.ph);
      expect(event.name).not.toBe('');
      expect(event.pid).toBeGreaterThan(0);
      expect(Number.isInteger(event.pid) && Number.isInteger(event.tid)).toBe(true);
      expect(event.ts).toBeGreaterThanOrEqual(0);
      if (event.ph === 'X') expect(event.dur).toBeGreaterThan(0);
    }
  });

  test('each CPU is a process with a name, each actor a thread with a name', () => {
    const processes = of('M').filter(({ name }) => name === 'process_name');
    expect(processes.map(({ args }) => args?.name)).toEqual(['CPU0', 'CPU1']);
    const threads = of('M').filter(({ name }) => name === 'thread_name');
    const named = new Set(threads.map(track));
    for (const event of events.filter(({ ph }) => ph !== 'M'))
      expect(named).toContain(track(event));
    const actors = new Set(steps(scenario).map(({ actor }) => actor));
    expect(new Set(threads.map(({ args }) => args?.name))).toEqual(actors);
  });

  test('slices of a thread nest: none ends inside another that began before it', () => {
    for (const name of new Set(of('X').map(track))) {
      const own = of('X')
        .filter((event) => track(event) === name)
        .toSorted((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
      const ends: number[] = [];
      for (const { ts, dur = 0 } of own) {
        while (ends.length > 0 && (ends.at(-1) as number) <= ts) ends.pop();
        if (ends.length > 0) expect(ts + dur).toBeLessThanOrEqual(ends.at(-1) as number);
        ends.push(ts + dur);
      }
    }
  });

  test('every step is a slice, in order', () => {
    const shown = steps(scenario).filter(({ check }) => check !== true);
    const numbers = of('X').flatMap(({ args }) => args?.step ?? []);
    expect(numbers).toEqual(shown.map(({ n }) => n));
  });

  test('a flow begins and ends inside slices, in that order, under one name and id', () => {
    const arrows = steps(scenario).flatMap((step) => step.arrows ?? []);
    expect(of('s')).toHaveLength(arrows.length);
    expect(of('f')).toHaveLength(arrows.length);
    for (const begin of of('s')) {
      const [end, ...others] = of('f').filter(({ id }) => id === begin.id);
      expect(others).toEqual([]);
      expect([end?.name, end?.cat, end?.bp]).toEqual([begin.name, begin.cat, 'e']);
      expect(end?.ts).toBeGreaterThan(begin.ts);
      for (const side of [begin, end as TraceEvent]) {
        const inside = of('X').some(
          (event) =>
            track(event) === track(side) &&
            event.ts <= side.ts &&
            side.ts <= event.ts + (event.dur ?? 0),
        );
        expect(inside).toBe(true);
      }
    }
  });
});
