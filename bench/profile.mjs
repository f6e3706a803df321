import { Session } from 'node:inspector/promises';

/** How many functions are listed. */
const LISTED = 12;

/**
 * Runs `work` under V8's sampling profiler. Returns its result and where the time went: the functions that
 * take most of it by themselves, each with its share.
 *
 * @template T
 * @param {() => T} work
 * @returns {Promise<{ result: T, lines: string[] }>}
 */
export async function profiled(work) {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  const result = work();
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  const { nodes, samples = [], timeDeltas = [] } = profile;
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  /** @type {Map<string, number>} */
  const self = new Map();
  let total = 0;
  for (const [at, id] of samples.entries()) {
    const frame = byId.get(id);
    const time = timeDeltas[at] ?? 0;
    if (!frame || frame.functionName === '(idle)') continue;
    const file = frame.url.replace(/.*\/(dist|test)\//, '');
    const name = `${frame.functionName || '(anonymous)'}  ${file}`;
    self.set(name, (self.get(name) ?? 0) + time);
    total += time;
  }
  const most = [...self].sort((a, b) => b[1] - a[1]).slice(0, LISTED);
  const lines = most.map(
    ([name, time]) => `${((100 * time) / total).toFixed(1).padStart(7)} %  ${name}`,
  );
  return { result, lines };
}
