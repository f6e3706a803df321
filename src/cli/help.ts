import type { Help, Option } from 'commander';

/** The parts of `--help` that commander does not make by itself. */

const EXIT_CODES = `
Exit codes:
  0  every variant behaved as declared
  1  a violation, or another unexpected verdict
  2  bad input, or the result could not be written
  3  inconclusive: a limit was hit, or Ctrl-C
  4  vacuous: something that must be seen never was
  5  a fault of gracewalk, or a scenario that is not deterministic
Of several the worst, in the order 5, 2, 1, 3, 4, 0.`;

export const AFTER_PROGRAM = `
No verb and a file means check.  stdout carries the result and nothing else.
${EXIT_CODES}

\`gracewalk help check\` lists what check takes.`;

const LIMITS = `
Limits of a search, several with commas between them:
  runs=1e6      so many runs
  steps=1e8     so many steps
  time=60s      per variant; ms, s, m or h
  memory=2G     heap; K, M, G or T.  Without it, 75 % of what Node has
  switches=3    runs of at most so many context switches: a hunt, no proof`;

export const AFTER_CHECK = `${EXIT_CODES}
With --bisect, 2 to 5 are 125: \`git bisect run\` skips that commit.
${LIMITS}

Examples:
  gracewalk check                         every built-in scenario
  gracewalk check my-race.ts              every variant of a file
  gracewalk check pv-tlb-flush --variant 'pv, no rcu' --detail full
  gracewalk check my-race.ts --expect use-after-free --limit time=10m
  gracewalk check --ktap > results.ktap
  git bisect run gracewalk check --bisect --quiet my-race.ts`;

export const AFTER_ASK = `
Exit codes:
  0  there is an answer, whatever it is; with --expect: the expected one
  1  with --expect: another answer
  2  bad input: a row that matches no step, a diagram without its columns
  3  inconclusive: a limit was hit, or Ctrl-C
  5  a fault of gracewalk, or a scenario that is not deterministic
${LIMITS}

Examples:
  gracewalk ask pv-tlb-flush              the questions of the scenario itself
  gracewalk ask pv-tlb-flush race.txt     a diagram in a file, or a whole mail
  gracewalk ask pv-tlb-flush - --fix-typos < mail.txt
  gracewalk ask my-race.ts race.txt --variant linux --expect unreachable`;

export const AFTER_REPLAY = `
Exit codes: 0 the run is still there, 2 it is not, or bad input, 5 a fault.

Examples, with the token in quotes as check prints it:
  gracewalk replay 'rcu-grace-period/freedatonce@c42241/1.a2-xf.b2-w4.a1-0e'
  gracewalk replay TOKEN my-race.ts       of a scenario of one's own
  gracewalk replay TOKEN --layout tagged --detail full
  gracewalk replay TOKEN --on 'pv, rcu'   where another variant stops it
  gracewalk replay run.json --minimize    the shortest such run
  gracewalk replay TOKEN --as html > run.html
  gracewalk replay TOKEN --step           by keys; in a pipe by lines`;

export const AFTER_MATRIX = `
A cell is safe, the kinds of violation found, or - where the variant does not
apply; the notes below the table say why.  Of a machine or model that a variant
is not declared on, nothing is expected.

Exit codes: 0 what is declared is as expected, 1 it is not, 2 bad input,
3 a search did not end, 4 a declared variant is vacuous, 5 a fault.

Examples:
  gracewalk matrix targeted-ipi
  gracewalk matrix pv-tlb-flush --machine x86_64 --machine arm64 --model sc`;

export const AFTER_WHY = `
Of a safe variant: the smallest sets of its protections (sections, locks, waits,
grace periods, barriers, flushes, re-checks) without which it fails, by kind of
violation.  Each is taken away, alone and together with others, and what is left
is explored to its end: what is said not to be needed is proven so.
Of a failing one: the run, and which of the variant's own differences from the
scenario, taken back, make it safe.

Limits:
  time=2m       for all of it (the default); what was not tried then is counted
  steps=2e6     for each set (the default); more is reported as undecided
  runs=1e6      for each set
  memory=2G     heap

Exit codes: 0 answered, 2 bad input, 3 a limit left something undecided,
4 the variant never does what it must be seen to do, 5 a fault.

Examples:
  gracewalk why gup-fast-vs-munmap rcu
  gracewalk why pv-tlb-flush 'pv, rcu' --kind use-after-free --show 2
  gracewalk why pv-tlb-flush 'pv, no rcu'`;

export const AFTER_NEW = `
Exit codes: 0, or 2 if nothing was written.

Examples:
  gracewalk new my-race
  gracewalk new --list
  gracewalk new my-walk --template gup-walk`;

export const AFTER_BUGS = `
Exit codes: those of check; 2 for a bug that is not known or has no scenario
yet.

Examples:
  gracewalk bugs
  gracewalk bugs kvm-pv-flush-lost`;

export const AFTER_DECODE = `
Exit codes: 0, or 2 for bad input or a result that could not be written.

Examples:
  gracewalk decode x86_64 0x80000000002001e3
  gracewalk decode arm64 0x0068000080001fc3 --level pte
  gracewalk decode ept 0x583c1e05e --level eptp
  gracewalk decode s390 0x400 0x133b31d --json`;

export const AFTER_WALK = `
Exit codes: 0 also if the address is not mapped, 2 bad input or a damaged image,
3 a limit ended the list.

Examples:
  gracewalk walk --arch x86_64 --root cr3=0x10a2003 memory.elf 0x7f5a0c001000
  gracewalk walk --arch arm64 --root 0x41234000 --upper ram.elf
  gracewalk walk --arch x86_64 --stage2 ept --root eptp=0x583c1e05e \\
      --guest-root cr3=0x10a2000 memory.elf`;

export const AFTER_EXPLAIN = `
Exit codes: 0, or 2 for bad input or a result that could not be written.

Examples:
  gracewalk explain                       what can be explained
  gracewalk explain arm64                 levels, drawings, fields, rules
  gracewalk explain call_rcu              a function: promise, model, source
  gracewalk explain stale-translation     a kind of violation
  gracewalk explain E303                  an error, also by its text`;

/** `--json[=lines]`: its value cannot be a word of its own, and the help should not look as if it could. */
export function optionTerm(this: Help, option: Option): string {
  return option.flags.replace(' [=', '[=');
}
