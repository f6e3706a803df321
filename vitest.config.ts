import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // As `paths` in tsconfig.json.
    alias: [
      { find: /^gracewalk$/, replacement: source('./src/index.ts') },
      { find: /^gracewalk\/linux$/, replacement: source('./src/kernel/index.ts') },
      { find: /^gracewalk\/arch$/, replacement: source('./src/arch/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 60_000,
    // dist runs natively: workers, loader hooks and stack positions are those of the product.
    server: { deps: { external: [/\/dist\//] } },
  },
});
