/** `node --import ./bench/strip.mjs x.ts`: see hooks.mjs. */
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
