/**
 * npm run bench:walk
 *
 * Time and memory of `gracewalk walk` over images with a million mapped pages, output included: one stage, and
 * an extended page table over guest tables, each with frames in order and scattered (no two pages merge).
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGES = 2 ** 20;
const ENTRIES = 512;
const PAGE = 4096;
const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const PEAK = new URL('./peak.mjs', import.meta.url).href;

/** Entries with the usual bits: present, writable, user, accessed, dirty; EPT: all access, write-back. */
const cpu = (/** @type {number} */ address) => BigInt(address) | 0x67n;
const eptTable = (/** @type {number} */ address) => BigInt(address) | 0x7n;
const eptPage = (/** @type {number} */ address) => BigInt(address) | 0x37n;

/**
 * Writes the tables of a four-level map of 4 GiB, the root at `at`; returns where they end.
 *
 * @param {number} file
 * @param {number} at
 * @param {(address: number) => bigint} table
 * @param {(page: number) => bigint} leaf
 */
function tables(file, at, table, leaf) {
  const put = (
    /** @type {number} */ where,
    /** @type {(index: number) => bigint} */ value,
    count = ENTRIES,
  ) => {
    const bytes = Buffer.alloc(PAGE);
    for (let index = 0; index < count; index++) bytes.writeBigUInt64LE(value(index), index * 8);
    writeSync(file, bytes, 0, PAGE, where);
  };
  const middle = at + 2 * PAGE;
  const lower = middle + 4 * PAGE;
  put(at, () => table(at + PAGE), 1);
  put(at + PAGE, (index) => table(middle + index * PAGE), 4);
  for (let which = 0; which < 4; which++) {
    put(middle + which * PAGE, (index) => table(lower + (which * ENTRIES + index) * PAGE));
  }
  for (let which = 0; which < PAGES / ENTRIES; which++) {
    put(lower + which * PAGE, (index) => leaf(which * ENTRIES + index));
  }
  return lower + (PAGES / ENTRIES) * PAGE;
}

/** Where a page is: in order, or so that no neighbours are neighbours. */
const place = (/** @type {number} */ page, /** @type {boolean} */ scattered) =>
  (scattered ? (page * 40_503) % PAGES : page) * PAGE;

/** @param {string} image @param {number} stages @param {boolean} scattered @returns {string[]} the roots */
function build(image, stages, scattered) {
  const file = openSync(image, 'w');
  const leaf = (/** @type {number} */ page) =>
    cpu(stages === 1 ? place(page, scattered) : page * PAGE);
  const end = tables(file, PAGE, cpu, leaf);
  if (stages === 2) {
    // The guest's tables are in the host's memory where the guest has them; all else is above 4 GiB.
    const above = (/** @type {number} */ page) => 2 ** 32 + place(page, scattered);
    tables(file, end, eptTable, (page) => eptPage(page * PAGE < end ? page * PAGE : above(page)));
  }
  closeSync(file);
  const hex = (/** @type {number} */ address) => `0x${address.toString(16)}`;
  return stages === 1
    ? ['--root', hex(PAGE)]
    : ['--stage2', 'ept', '--root', hex(end), '--guest-root', hex(PAGE)];
}

const folder = mkdtempSync(join(tmpdir(), 'gracewalk-'));
const image = join(folder, 'memory');
try {
  for (const stages of [1, 2]) {
    for (const scattered of [false, true]) {
      const roots = build(image, stages, scattered);
      const nowhere = openSync('/dev/null', 'w');
      const args = ['--import', PEAK, MAIN, 'walk', '--arch', 'x86_64', ...roots, image];
      const began = performance.now();
      const { status, stderr } = spawnSync(process.execPath, args, {
        stdio: ['ignore', nowhere, 'pipe'],
        encoding: 'utf8',
      });
      const seconds = (performance.now() - began) / 1000;
      closeSync(nowhere);
      const peak = Number(/peak (\d+)/.exec(stderr)?.[1]) / 1024;
      if (status !== 0) throw new Error(stderr);
      const what = `${stages === 1 ? 'one stage' : 'EPT over guest'}, ${scattered ? 'scattered' : 'in order'}`;
      console.log(
        `${what.padEnd(26)} ${seconds.toFixed(2).padStart(6)} s ${peak.toFixed(0).padStart(6)} MiB`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
