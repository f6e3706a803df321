import type { Program } from '../../src/explore/run.ts';
import { build, sourceOf } from './program.ts';
import type { Words } from './words.ts';

/** Programs made from programs, for laws about their counts. */

function prefixed(prefix: string, words: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(words).map(([name, value]) => [`${prefix}${name}`, value]),
  );
}

function view(prefix: string, names: readonly string[], words: Words): Words {
  return Object.fromEntries(
    names.flatMap((name) => {
      const word = words[`${prefix}${name}`];
      return word ? [[name, word] as const] : [];
    }),
  );
}

/** Both at once, with nothing in common. The first may use `join`. */
export function beside(first: Program, second: Program): Program {
  const [one, two] = [sourceOf(first), sourceOf(second)];
  return build({
    words: { ...prefixed('1.', one.words), ...prefixed('2.', two.words) },
    threads: (w: Words) => [
      ...one.threads(view('1.', Object.keys(one.words), w)),
      ...two.threads(view('2.', Object.keys(two.words), w)),
    ],
  });
}

/** The same with other names, declared in the opposite order. */
export function renamed(program: Program): Program {
  const { words, threads } = sourceOf(program);
  const reversed = Object.fromEntries(Object.entries(words).reverse());
  return build({
    words: prefixed('renamed ', reversed),
    threads: (w: Words) => threads(view('renamed ', Object.keys(words), w)),
  });
}

/** The same with its threads in another order. Not for programs that use `join`. */
export function permuted(program: Program, order: readonly number[]): Program {
  const { words, threads } = sourceOf(program);
  return build({
    words,
    threads: (w: Words) => {
      const all = threads(w);
      return order.map((at) => all[at]!);
    },
  });
}
