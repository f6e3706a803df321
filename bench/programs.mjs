/** The programs whose speed is watched: title in test/zoo (`, TSO`: with store buffers), or file of a scenario. */
export const PROGRAMS = [
  'redco(5)',
  'inc(5)',
  'racepar(5)',
  'szymL',
  'treiber(3,2)',
  'msq(2,2)',
  'msq(3,1)',
  'lastzero(10)',
  'big1',
  'racepar(5), TSO',
  'treiber(3,2), TSO',
  'msq(3,1), TSO',
];

/**
 * Only if named. Source sets without wakeup trees begin three million runs of lastzero(15) in vain: half a
 * minute for 147 456 executions.
 */
export const ON_REQUEST = ['lastzero(15)', 'lastzero(15), TSO'];

export const SCENARIOS = ['scenarios/mm/gup-fast-vs-munmap.ts', 'scenarios/mm/pv-tlb-flush.ts'];

/**
 * @typedef {object} Measured
 * @property {string} title
 * @property {number} runs
 * @property {number} steps
 * @property {number} sleepBlocked
 * @property {number} seconds
 * @property {number} rss peak resident set, bytes
 * @property {string} note
 * @property {string[]} profile
 */
