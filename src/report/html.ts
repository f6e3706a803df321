import type { SourceLines, StepFrame } from '../scenario/result.ts';
import { renderDiagram } from './diagram.ts';
import { escaped, shownSteps, type RunView, type ShownStep } from './run-view.ts';
import { renderSvg } from './svg.ts';

/**
 * A run as one file for a bug tracker: no scripts, nothing from elsewhere. The steps are a real table, a
 * column per CPU, with row and column headers; what each step changed is in it as text. The picture and the
 * diagram that can be pasted into a mail say the same again.
 */
const STYLE = `
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --dim: #595959; --rule: #c8c8c8; --bad: #a40000; --shade: #f4f4f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181c; --dim: #a8a8a8; --rule: #44484f; --bad: #ff8f8f; --shade: #1f2228; } }
body { color: var(--ink); background: var(--paper); font: 1rem/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }
code, pre, td { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; padding: .5rem 0; }
th, td { border-bottom: 1px solid var(--rule); padding: .15rem .6rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--paper); }
.frames, .changes { color: var(--dim); } .frames { display: block; white-space: pre-wrap; }
.failing { background: var(--shade); } .bad { color: var(--bad); font-weight: bold; }
pre, .scroll { overflow-x: auto; } pre { background: var(--shade); padding: .75rem; } svg { max-width: none; }
a { color: inherit; }
@media print { thead th { position: static; } }`;

export function renderHtml(view: RunView, source: SourceLines): string {
  const { scenario, variant, token, run } = view;
  const steps = shownSteps(run, source);
  const columns = [...new Set([...run.columns, ...steps.map(({ column }) => column)])];
  const title = `${scenario} / ${variant}`;
  const { violation, waiting, switches } = run;
  const diagram = renderDiagram(run, { width: 75, layout: 'columns', detail: 'auto', source });
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}: ${escaped(violation?.kind ?? 'a run')}</title>
<style>${STYLE}
</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
${violation ? `<p><strong class="bad">${violation.kind}</strong>: ${escaped(violation.message)}</p>` : '<p>This run violates nothing.</p>'}
${waiting.map((line) => `<p>${escaped(line)}.</p>`).join('\n')}
<p>${steps.length} steps, ${switches} context switches. To see it again: <code>gracewalk replay '${escaped(token)}'</code></p>
<h2>The diagram</h2>
<pre aria-label="The run in columns, as text">${escaped(diagram.replace(/^\n/, '').trimEnd())}</pre>
<h2>Step by step</h2>
<div class="scroll" role="region" aria-label="Steps" tabindex="0">
<table>
<caption>Every step of the run, oldest first, in the column of the CPU it happens on.</caption>
<thead><tr><th scope="col">Step</th>${columns.map((name) => `<th scope="col">${escaped(name)}</th>`).join('')}<th scope="col">What it changes</th></tr></thead>
<tbody>
${tableRows(steps, columns).join('\n')}
</tbody>
</table>
</div>
<h2>The picture</h2>
<div class="scroll" role="region" aria-label="Picture" tabindex="0">
${renderSvg(view, source).trimEnd()}
</div>
</main>
</body>
</html>
`;
}

function tableRows(steps: readonly ShownStep[], columns: readonly string[]): string[] {
  const open = new Map<string, readonly StepFrame[]>();
  const numbers = new Set(steps.map(({ n }) => n));
  return steps.map((step) => {
    const before = open.get(step.actor) ?? [];
    open.set(step.actor, step.frames);
    const cells = columns.map((name) =>
      name === step.column ? `<td>${cell(step, before)}</td>` : '<td></td>',
    );
    const failing = step.violation ? ' class="failing"' : '';
    return `<tr id="step-${step.n}"${failing}><th scope="row">${step.n}</th>${cells.join('')}<td class="changes">${changed(step, numbers)}</td></tr>`;
  });
}

/** The functions that the step is the first of, then what it does. */
function cell(step: ShownStep, before: readonly StepFrame[]): string {
  const common = step.frames.findIndex(({ call }, depth) => call !== before[depth]?.call);
  const entered = common < 0 ? [] : step.frames.slice(common);
  const frames = entered.map(
    ({ name }, at) => `<span class="frames">${'  '.repeat(common + at)}${escaped(name)}()</span>`,
  );
  const value =
    step.comment === null ? '' : ` <span class="changes">// ${escaped(step.comment)}</span>`;
  const bad = step.violation ? ` <strong class="bad">!!! ${step.violation.kind}</strong>` : '';
  const indent = step.event === null ? `padding-left:${step.frames.length * 2}ch` : '';
  return `${frames.join('')}<div${indent && ` style="${indent}"`}>${escaped(step.text)}${value}${bad}</div>`;
}

function changed({ changes = [], arrows = [] }: ShownStep, numbers: ReadonlySet<number>): string {
  const from = arrows.map(({ from: n, kind }) => {
    const name = `step ${n}`;
    return `${kind} from ${numbers.has(n) ? `<a href="#step-${n}">${name}</a>` : name}`;
  });
  const facts = changes.map(
    ({ what, before, after }) => `${escaped(what)}: ${escaped(before)} &rarr; ${escaped(after)}`,
  );
  return [...from, ...facts].join('<br>');
}
