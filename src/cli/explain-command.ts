import { TABLE_KINDS, tableKindNamed } from '../arch/kinds.ts';
import { fold } from '../report/wrap.ts';
import type { ExitCode } from './exit-code.ts';
import { explainJson } from './explain-text.ts';
import { topicNamed, topicText, topics, type TopicKind } from './explain-topics.ts';
import { jsonText, type JsonForm } from './options.ts';
import { Session, type CommonOptions } from './session.ts';

export interface ExplainOptions extends CommonOptions {
  readonly json?: JsonForm;
}

/** `gracewalk explain NAME`: an architecture, a machine, a violation, a kernel function, an error. */
export async function explain(
  name: string | undefined,
  options: ExplainOptions,
): Promise<ExitCode> {
  const text = name === undefined ? list(options) : one(name, options);
  const session = new Session(options);
  await session.output.write(text);
  return session.finish();
}

function one(typed: string, { json }: ExplainOptions): string {
  const topic = topicNamed(typed);
  if (!json) return topicText(topic);
  if (topic.kind === 'architecture') return jsonText(explainJson(tableKindNamed(topic.name)), json);
  return jsonText({ schema: 'gracewalk.topic/1', ...topic, text: topicText(topic) }, json);
}

const TITLES: Readonly<Record<Exclude<TopicKind, 'architecture'>, string>> = {
  machine: 'Machines',
  violation: 'Kinds of violation',
  verdict: 'Verdicts',
  sanitizer: 'Other sanitizers',
  function: 'Functions',
  error: 'Errors, by code or by what they say',
};

function list({ json }: ExplainOptions): string {
  const archs = TABLE_KINDS.map(({ name, title }) => ({ name, title }));
  const all = topics();
  if (json) return jsonText({ schema: 'gracewalk.names/1', names: archs, topics: all }, json);
  const width = Math.max(...archs.map(({ name }) => name.length));
  const rows = archs.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`);
  const others = Object.entries(TITLES).map(([kind, title]) => {
    const names = all.filter((topic) => topic.kind === kind).map(({ name }) => name);
    const lines = fold(names.join(', '), 73).split('\n');
    return `${title}:\n\n${lines.map((line) => `  ${line}`).join('\n')}\n`;
  });
  return [`Architectures and kinds of page tables:\n\n${rows.join('\n')}\n`, ...others].join('\n');
}
