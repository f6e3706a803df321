import { algorithms, benchmarks, title } from '../test/zoo/index.ts';

/** The program of test/zoo that is called so. @param {string} name */
export function counted(name) {
  const found = [...benchmarks, ...algorithms].find((candidate) => title(candidate) === name);
  if (!found) throw new Error(`no program is called ${name}`);
  return found;
}
