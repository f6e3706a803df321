import { algorithms, benchmarks, title } from '../test/zoo/index.ts';
import { underTso } from '../test/zoo/program.ts';

/** The program of test/zoo that is called so; `racepar(5), TSO` is one under x86-TSO. @param {string} name */
export function counted(name) {
  const [called, model] = name.split(', ');
  const found = [...benchmarks, ...algorithms].find((candidate) => title(candidate) === called);
  if (!found || (model !== undefined && model !== 'TSO')) {
    throw new Error(`no program is called ${name}`);
  }
  if (model === undefined) return found;
  if (found.tso === null) throw new Error(`nobody has counted ${called} under x86-TSO`);
  return { ...found, build: () => underTso(found.build()), runs: found.tso };
}
