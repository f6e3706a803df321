import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT, displayName, sourceFile, sourceLines } from '../../src/cli/source-lines.ts';

const inPackage = (path: string): string => join(PACKAGE_ROOT, path);

test('a position in dist is a position in src', () => {
  const built = inPackage('dist/base/errors.js');
  expect(sourceFile(built)).toBe(inPackage('src/base/errors.ts'));
  expect(sourceFile(pathToFileURL(built).href)).toBe(inPackage('src/base/errors.ts'));
});

test('a file without a source, or outside dist, is itself', () => {
  expect(sourceFile(inPackage('dist/nothing.js'))).toBe(inPackage('dist/nothing.js'));
  expect(sourceFile('/elsewhere/my-race.ts')).toBe('/elsewhere/my-race.ts');
  expect(sourceFile('file:///elsewhere/my%20race.ts?v=2')).toBe('/elsewhere/my race.ts');
  expect(sourceFile(inPackage('scenarios/x.ts'))).toBe(inPackage('scenarios/x.ts'));
});

test('lines are read from disk, and what cannot be read has none', () => {
  const lines = sourceLines();
  expect(lines(inPackage('src/cli/main.ts'), 1)).toBe('#!/usr/bin/env node');
  expect(lines(inPackage('src/cli/main.ts'), 9999)).toBeNull();
  expect(lines('/nowhere/x.ts', 1)).toBeNull();
  expect(lines('node:internal/main', 1)).toBeNull();
});

test('messages call a file by its shortest honest name', () => {
  expect(displayName('/folder/races/a.ts', '/folder')).toBe('races/a.ts');
  expect(displayName(inPackage('dist/base/errors.js'), '/folder')).toBe('src/base/errors.ts');
  expect(displayName('/elsewhere/a.ts', '/folder')).toBe('/elsewhere/a.ts');
});
