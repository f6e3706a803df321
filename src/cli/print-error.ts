import { renderError } from '../report/error-text.ts';
import type { ReportedError } from './protocol.ts';
import { displayName, sourceLines } from './source-lines.ts';
import { painter } from './term.ts';

/** An error as people read it. The stack is for those who debug gracewalk. */
export function printError(
  error: ReportedError,
  { color, debug }: { readonly color: boolean; readonly debug: boolean },
): string {
  const text = renderError(error, sourceLines(), displayName)
    .trimEnd()
    .replace(/^error:/, painter(color).bad('error:'));
  return debug && error.stack !== null ? `${text}\n${error.stack}` : text;
}
