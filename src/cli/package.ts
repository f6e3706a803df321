import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from './source-lines.ts';

/** Where the built-in scenarios are: beside src and dist, as TypeScript. */
export const SCENARIO_FOLDER: string = join(PACKAGE_ROOT, 'scenarios');

/** What `gracewalk new` copies. */
export const TEMPLATE_FOLDER: string = join(PACKAGE_ROOT, 'templates');

export const ENGINE_VERSION: string = versionOf(join(PACKAGE_ROOT, 'package.json'));

function versionOf(file: string): string {
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}
