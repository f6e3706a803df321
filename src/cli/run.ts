import { CommanderError, type Command } from 'commander';
import { GracewalkError } from '../base/errors.ts';
import { forBisect, type ExitCode } from './exit-code.ts';
import { builtInScenarios, looksLikePath } from './find-scenarios.ts';
import { withJsonForm } from './options.ts';
import { SCENARIO_FOLDER } from './package.ts';
import { VERBS, commands } from './program.ts';
import { reportError } from './report-error.ts';
import { Session } from './session.ts';
import { suggest } from '../base/suggest.ts';

/** The whole program: arguments in, exit code out. Never throws for anything that a person did. */
export async function run(argv: readonly string[]): Promise<number> {
  const code = await runVerb(withJsonForm(argv));
  // Also if the arguments are wrong otherwise: an old commit may not know them.
  return argv.includes('--bisect') ? forBisect(code) : code;
}

async function runVerb(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  let help = '';
  const program = commands(
    (answer) => (code = answer),
    (text) => (help += text),
  );
  try {
    if (argv.length === 0) throw nothingToDo(program);
    refuseUnknownVerb(argv);
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    const session = new Session({ color: 'auto', debug: argv.includes('--debug') });
    // Commander ends this way when it has printed help or the version.
    const happy = error instanceof CommanderError && error.exitCode === 0;
    if (happy) await session.output.write(help);
    else
      session.fail(reportError(error instanceof CommanderError ? usageError(error, argv) : error));
    return session.finish();
  }
}

function nothingToDo(program: Command): GracewalkError {
  return new GracewalkError('E115', 'nothing to do', {
    notes: program.commands.map((verb) => `gracewalk ${verb.name()} ${verb.usage()}`),
    help: 'gracewalk check explores all built-in scenarios; gracewalk --help says more',
  });
}

/** Without this, a mistyped verb would be looked for among the scenarios. */
function refuseUnknownVerb(argv: readonly string[]): void {
  if (argv[0] === 'help') refuseHelpOn(argv[1]);
  const first = argv[0] ?? '';
  const verbAt = argv.findIndex((argument) => VERBS.includes(argument));
  if (first.startsWith('-')) {
    if (verbAt > 0 && argv[verbAt - 1]?.startsWith('--variant') === false) verbFirst(argv, verbAt);
    return;
  }
  if (VERBS.includes(first) || looksLikePath(first)) return;
  const names = builtInScenarios(SCENARIO_FOLDER).map(({ name }) => name);
  if (names.includes(first)) return;
  const meant = suggest(first, [...VERBS, ...names]);
  throw new GracewalkError('E110', `'${first}' is no verb, no file and no built-in scenario`, {
    notes: [`verbs are ${VERBS.join(', ')}`],
    help: meant === null ? 'a file needs its ending: my-race.ts' : `did you mean ${meant}?`,
  });
}

/** Of `gracewalk help chck` commander says nothing. */
function refuseHelpOn(verb: string | undefined): void {
  if (verb === undefined || verb.startsWith('-') || VERBS.includes(verb)) return;
  const meant = suggest(verb, VERBS);
  throw new GracewalkError('E115', `there is no verb '${verb}' to print help for`, {
    notes: [`verbs are ${VERBS.join(', ')}`],
    help:
      meant === null
        ? `gracewalk explain ${verb} looks among functions and errors`
        : `did you mean ${meant}?`,
  });
}

function verbFirst(argv: readonly string[], at: number): never {
  const rest = argv.filter((_, index) => index !== at);
  throw new GracewalkError('E115', `the verb ${argv[at]} comes first`, {
    help: `gracewalk ${argv[at]} ${rest.join(' ')}`,
  });
}

/** Commander's `error: unknown option '--widht'\n(Did you mean --width?)` in our form. */
function usageError(error: CommanderError, argv: readonly string[]): GracewalkError {
  if (error.code === 'commander.conflictingOption') return conflict(error.message);
  const [what = '', hint] = error.message.replace(/^error: /, '').split('\n');
  const meant = hint === undefined ? null : /\(Did you mean (.*)\?\)/.exec(hint)?.[1];
  return new GracewalkError('E115', what.replace(/\.$/, ''), {
    help: meant
      ? `did you mean ${meant}?`
      : `gracewalk help ${VERBS.find((verb) => verb === argv[0]) ?? 'VERB'} lists what ${VERBS.includes(argv[0] ?? '') ? 'it' : 'a verb'} takes`,
  });
}

/** Commander's `error: option '--ktap' cannot be used with option '--quiet'`. */
function conflict(message: string): GracewalkError {
  const [one = '', other = ''] = [...message.matchAll(/'(--\w+)/g)].map(([, flag]) => flag ?? '');
  const [form, about] = FORMS.includes(one) ? [one, other] : [other, one];
  const why = FORMS.includes(about)
    ? [`each of ${FORMS.join(', ')} is a whole form of the result`]
    : FORMS.includes(form)
      ? [`${form} prints no text that ${about} could be about`]
      : ['each is another way to search'];
  return new GracewalkError('E115', `${one} and ${other} contradict each other`, {
    notes: why,
    help: 'leave one of them out',
  });
}

const FORMS: readonly string[] = ['--json', '--ktap', '--quiet'];
