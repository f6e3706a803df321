/** `node --import ./bench/peak.mjs ...`: says at the end how much memory the process has had, in KiB. */
import { writeSync } from 'node:fs';

process.on('exit', () => writeSync(2, `\npeak ${process.resourceUsage().maxRSS}\n`));
