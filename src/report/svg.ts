import type { SourceLines } from '../scenario/result.ts';
import { escaped, sentence, shownSteps, type RunView, type ShownStep } from './run-view.ts';

/**
 * A run as a picture: a lane per CPU, time downwards, a row per step; bars where interrupts are off, a
 * read-side section is open or the host has the vCPU; arrows for interrupts, acknowledgements, callbacks and
 * stores that reach memory. Nothing is said by colour alone: bars have letters, the failing row has `!!!`.
 */
const ROW = 20;
const TOP = 56;
const LEFT = 48;
/** Lanes are as wide as their longest row, within these. */
const LEAST_LANE = 240;
const MOST_LANE = 720;
/** Room for the bars of a lane, left of its text. */
const BARS = 44;
const LETTER_WIDTH = 7.3;

const STYLE = `
  .run { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
  .run .paper { fill: #fff; } .run text { fill: #1a1a1a; } .run .dim { fill: #595959; }
  .run .rule { stroke: #c8c8c8; } .run .bar { fill: #d7e3f4; stroke: #33507a; }
  .run .bar.out { fill: #eee2c8; stroke: #6b5310; } .run .bar.rcu { fill: #d9efdc; stroke: #245a2c; }
  .run .arrow { stroke: #33507a; fill: none; stroke-width: 1.5; } .run .head { fill: #33507a; }
  .run .bad { fill: #a40000; font-weight: bold; } .run .name { font-weight: bold; }
  @media (prefers-color-scheme: dark) {
    .run .paper { fill: #16181c; } .run text { fill: #e8e8e8; } .run .dim { fill: #a8a8a8; }
    .run .rule { stroke: #44484f; } .run .bar { fill: #233552; stroke: #9dbbe8; }
    .run .bar.out { fill: #40371c; stroke: #d8bd6a; } .run .bar.rcu { fill: #1d3a22; stroke: #8fd09b; }
    .run .arrow { stroke: #9dbbe8; } .run .head { fill: #9dbbe8; } .run .bad { fill: #ff8f8f; }
  }`;

export function renderSvg(view: RunView, source: SourceLines): string {
  const { scenario, variant, run } = view;
  const steps = shownSteps(run, source);
  const lanes = [...new Set([...run.columns, ...steps.map(({ column }) => column)])];
  const longest = Math.max(
    ...steps.map((step) => indentOf(step) + wholeText(step).length * LETTER_WIDTH),
  );
  const lane = Math.ceil(Math.min(MOST_LANE, Math.max(LEAST_LANE, BARS + longest + GAP)));
  const width = LEFT + lanes.length * lane;
  const height = TOP + steps.length * ROW + 40;
  const drawing = { steps, lanes, lane, bottom: TOP + steps.length * ROW };
  return `<svg xmlns="http://www.w3.org/2000/svg" class="run" role="img" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>${escaped(`${scenario} / ${variant}`)}</title>
<desc>${escaped(`${sentence(run)}  ${steps.length} steps on ${lanes.join(', ')}.`)}</desc>
<style>${STYLE}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>
<rect class="paper" width="${width}" height="${height}"/>
<text class="name" x="8" y="18">${escaped(`${scenario} / ${variant}: ${run.violation?.kind ?? 'no violation'}`)}</text>
${[...laneLines(drawing), ...bars(drawing), ...rows(drawing), ...arrows(drawing)].join('\n')}
<text class="dim" x="8" y="${height - 12}">I: interrupts off   R: RCU read-side section   O: taken off its processor by the host</text>
</svg>
`;
}

interface Drawing {
  readonly steps: readonly ShownStep[];
  readonly lanes: readonly string[];
  /** Their width. */
  readonly lane: number;
  readonly bottom: number;
}

function laneX({ lanes, lane }: Drawing, column: string): number {
  return LEFT + lanes.indexOf(column) * lane;
}

function rowY(at: number): number {
  return TOP + at * ROW + ROW / 2;
}

function laneLines(drawing: Drawing): string[] {
  return drawing.lanes.flatMap((name) => {
    const x = laneX(drawing, name);
    return [
      `<text class="name" x="${x + BARS}" y="${TOP - 12}">${escaped(name)}</text>`,
      `<line class="rule" x1="${x}" y1="${TOP - 4}" x2="${x}" y2="${drawing.bottom}"/>`,
    ];
  });
}

/** Between the text of a lane and the next lane. */
const GAP = 8;

function indentOf({ frames }: ShownStep): number {
  return Math.min(frames.length, 8) * 8;
}

function wholeText({ text, comment, violation }: ShownStep): string {
  const mark = violation ? `!!! ${violation.kind}  ` : '';
  return `${mark}${text}${comment === null ? '' : `  // ${comment}`}`;
}

function rows(drawing: Drawing): string[] {
  return drawing.steps.map((step, at) => {
    const indent = indentOf(step);
    const x = laneX(drawing, step.column) + BARS + indent;
    const room = Math.floor((drawing.lane - BARS - indent - GAP) / LETTER_WIDTH);
    const whole = wholeText(step);
    const text = whole.length <= room ? whole : `${whole.slice(0, room - 3)}...`;
    const y = rowY(at) + 4;
    const path = [...step.frames.map(({ name }) => `${name}()`), whole].join(' > ');
    return `<text class="dim" x="${LEFT - 12}" y="${y}" text-anchor="end">${step.n}</text><text${step.violation ? ' class="bad"' : ''} x="${x}" y="${y}"><title>${escaped(path)}</title>${escaped(text)}</text>`;
  });
}

/** What a bar shows: the fact, the values between which it is drawn, its letter and its place. */
const BAR_KINDS = [
  { fact: 'interrupts of ', on: 'off', letter: 'I', css: 'bar', x: 2 },
  { fact: 'RCU section of ', on: 'open', letter: 'R', css: 'bar rcu', x: 16 },
  { fact: 'host runs ', on: 'no', letter: 'O', css: 'bar out', x: 30 },
] as const;

function bars(drawing: Drawing): string[] {
  return BAR_KINDS.flatMap(({ fact, on, letter, css, x }) => {
    const open = new Map<string, number>();
    const drawn: string[] = [];
    const draw = (column: string, from: number, to: number): void => {
      const left = laneX(drawing, column) + x;
      const y = TOP + from * ROW;
      drawn.push(
        `<rect class="${css}" x="${left}" y="${y}" width="12" height="${(to - from) * ROW}"/><text class="dim" x="${left + 3}" y="${y + 14}">${letter}</text>`,
      );
    };
    drawing.steps.forEach((step, at) => {
      for (const { what, before, after } of step.changes ?? []) {
        if (!what.startsWith(fact)) continue;
        const owner = what.slice(fact.length);
        const column = drawing.lanes.includes(owner) ? owner : step.column;
        if (after.startsWith(on) && !before.startsWith(on)) open.set(column, at);
        const from = open.get(column);
        if (after.startsWith(on) || from === undefined) continue;
        draw(column, from, at + 1);
        open.delete(column);
      }
    });
    for (const [column, from] of open) draw(column, from, drawing.steps.length);
    return drawn;
  });
}

function arrows(drawing: Drawing): string[] {
  const { steps } = drawing;
  const place = new Map(steps.map((step, at) => [step.n, at]));
  return steps.flatMap((step, to) =>
    (step.arrows ?? []).flatMap(({ from, kind }) => {
      const at = place.get(from);
      const source = at === undefined ? undefined : steps[at];
      if (at === undefined || !source) return [];
      const a = laneX(drawing, source.column) + BARS - 4;
      const b = laneX(drawing, step.column) + BARS - 4;
      // Between lanes a straight line; within one a bow on the left.
      const bow =
        a === b
          ? `M${a} ${rowY(at)} C${a - 30} ${rowY(at)} ${b - 30} ${rowY(to)} ${b} ${rowY(to)}`
          : '';
      const path = bow || `M${a} ${rowY(at)} L${b} ${rowY(to)}`;
      const title = `${kind}: step ${from} to step ${step.n}`;
      return [
        `<path class="arrow" d="${path}" marker-end="url(#head)"><title>${title}</title></path>`,
      ];
    }),
  );
}
