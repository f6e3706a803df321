import { renderDiagram, type DiagramOptions } from '../report/diagram.ts';
import { waitingLines } from '../report/waiting.ts';
import { followedJson, renderFollowed } from '../report/follow.ts';
import { runJson, toJson } from '../report/json.ts';
import { renderHtml } from '../report/html.ts';
import { perfettoTrace } from '../report/perfetto.ts';
import { renderSvg } from '../report/svg.ts';
import { renderKtap } from '../report/ktap.ts';
import type { TextOptions } from '../report/text-options.ts';
import { renderCheck } from '../report/text.ts';
import { fold } from '../report/wrap.ts';
import type { Findings } from './findings.ts';
import type { Detail, Form, Layout, RunForm } from './options.ts';
import { ENGINE_VERSION } from './package.ts';
import type { Replayed, ReportedError } from './protocol.ts';
import { displayName, sourceLines } from './source-lines.ts';
import { painter } from './term.ts';

/** What an invocation writes to stdout, form by form. */
export interface RenderOptions {
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
  readonly colored: boolean;
}

export interface CheckRenderOptions extends RenderOptions {
  /** Draw the runs of failures that were expected, too. */
  readonly showExpected: boolean;
  readonly assumptions: boolean;
}

export function checkText(findings: Findings, options: CheckRenderOptions): string {
  const text = renderCheck(findings.results, textOptions(options));
  // What was not looked at must not hide behind what was.
  const { notChecked } = findings;
  const missing = notChecked === 0 ? '' : `Not checked: ${variants(notChecked)}.\n`;
  return withFiles(text, findings) + missing;
}

export function checkKtap(findings: Findings, options: CheckRenderOptions): string {
  return withFiles(renderKtap(findings.outcomes(), textOptions(options)), findings);
}

export function checkDocument(findings: Findings): string {
  const { results, errors, ok, notChecked } = findings;
  return asDocument({
    ...toJson(results, ENGINE_VERSION, sourceLines()),
    ok,
    notChecked,
    errors: errors.map(errorJson),
  });
}

export function errorJson({ code, what, details }: ReportedError): Record<string, unknown> {
  const { site } = details;
  if (!site) return { code, what, ...details };
  return { code, what, ...details, site: { ...site, file: displayName(site.file) } };
}

/** A token knows its scenario's id, but not where a file of one's own is. */
function withFiles(text: string, { results, files }: Findings): string {
  let all = text;
  for (const { scenario, token } of results) {
    const file = files.get(scenario);
    if (token !== null && file !== undefined) {
      all = all.replaceAll(`'${token}'`, `'${token}' ${quoted(file)}`);
    }
  }
  return all;
}

function quoted(file: string): string {
  return /^[\w./-]+$/.test(file) ? file : `'${file}'`;
}

/** `--as`: for mails, other programs, bug trackers, slides, trace viewers. */
export function renderRunAs(replayed: Replayed, as: RunForm, options: RenderOptions): string {
  switch (as) {
    case 'tagged':
      return replayText(replayed, { ...options, layout: 'tagged' });
    case 'json':
      return asDocument(replayJson(replayed));
    case 'html':
      return renderHtml(replayed, sourceLines());
    case 'svg':
      return renderSvg(replayed, sourceLines());
    case 'perfetto':
      return asDocument(perfettoTrace(replayed, sourceLines()));
  }
}

export function renderReplay(replayed: Replayed, form: Form, options: RenderOptions): string {
  switch (form) {
    case 'json':
      return asDocument(replayJson(replayed));
    case 'json-lines':
      return `${JSON.stringify(replayJson(replayed))}\n`;
    // The exit code says whether the run still exists.
    case 'quiet':
      return '';
    case 'ktap':
    case 'text':
      return replayText(replayed, options);
  }
}

function replayJson(replayed: Replayed): Record<string, unknown> {
  const { scenario, variant, token, run, followed, before } = replayed;
  const head = { schema: 'gracewalk.run/1', engine: ENGINE_VERSION, scenario, variant, token };
  return {
    ...head,
    violation: run.violation,
    ...(followed ? { followed: followedJson(run, followed, sourceLines()) } : {}),
    ...(before === null ? {} : { before }),
    ...runJson(run, sourceLines()),
  };
}

/** A sentence, without the blanks that folding leaves at the ends of lines. */
function folded(text: string, { width }: RenderOptions): string {
  return fold(text, width).replace(/ +$/gm, '');
}

function replayText(replayed: Replayed, options: RenderOptions): string {
  const { scenario, variant, run, followed, before } = replayed;
  const { violation } = run;
  const waiting = waitingLines(run);
  if (followed) return `${renderFollowed(run, followed, diagramOptions(options))}\n`;
  const kind = violation ? painter(options.colored).bad(violation.kind) : 'no violation';
  const lines = [
    `${scenario} / ${variant}: ${kind}`,
    ...(violation ? ['', fold(violation.message, options.width)] : []),
    renderDiagram(run, diagramOptions(options)).trimEnd(),
    ...(waiting.length > 0 ? ['', ...waiting.map((line) => folded(line, options))] : []),
    ...(before === null ? [] : ['', ...minimality(replayed, options.width)]),
  ];
  // The diagram is framed by blank lines, so that it can be selected and pasted.
  return `${lines.join('\n')}\n\n`;
}

function minimality({ run, before, token }: Replayed, width: number): string[] {
  const was =
    before === null || typeof before === 'string'
      ? ''
      : ` (was ${before.switches} switches, ${before.steps} steps)`;
  return [
    fold(
      `Fewest context switches: ${run.switches}, and with these fewest steps: ${run.steps.length}${was}.`,
      width,
    ),
    '',
    `Replay: gracewalk replay '${token}'`,
  ];
}

function textOptions(options: CheckRenderOptions): TextOptions {
  const { showExpected, assumptions, colored } = options;
  return {
    ...diagramOptions(options),
    painter: painter(colored),
    showExpected,
    assumptions,
    shorten: (file) => displayName(file),
  };
}

function diagramOptions({ width, layout, detail }: RenderOptions): DiagramOptions {
  return { width, layout, detail, source: sourceLines() };
}

function asDocument(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function variants(count: number): string {
  return count === 1 ? '1 variant' : `${count} variants`;
}
