/** The programs whose speed is watched: title in test/zoo, or file of a scenario. */
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
];

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
 */
