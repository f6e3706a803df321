import { describe, expect, test } from 'vitest';
import { TABLE_KINDS } from '../../src/arch/kinds.ts';
import { gracewalk } from './in-process.ts';

describe('decode', () => {
  test('names every level where the value fits', async () => {
    const { code, stdout, stderr } = await gracewalk(['decode', 'x86_64', '0x80000000002001e3']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe(`0x80000000002001e3 in x86-64

pte: 4 KiB page at 0x200000: NX G PAT D A RW
pmd: 2 MiB page at 0x200000: NX G D A RW
`);
  });

  test('draws the bits of one level, with their values and meanings', async () => {
    const { stdout } = await gracewalk(['decode', 'riscv_sv39', '1208022255', '--level', 'pmd']);
    expect(stdout).toBe(`0x000000004800f4ef in RISC-V Sv39

pmd: 2 MiB page at 0x120000000: D A G X W R; faults: reserved bits
    15..12, 10 are set

    63  62..61  60..54  53..19  18..10  9    8    7  6  5  4  3  2  1  0
    0   PBMT    0       PPN     0       SW9  SW8  D  A  G  U  X  W  R  V
    0   0       0       0x900   0x3d    0    0    1  1  1  0  1  1  1  1

D  dirty
A  accessed
G  global
X  execute
W  write
R  read

Source: RISC-V Instruction Set Manual, Volume II, Supervisor-Level ISA:
    Sv39, Sv48, Sv57: Page-Based Virtual-Memory Systems
`);
  });

  test('says which kernels read it otherwise', async () => {
    const { stdout } = await gracewalk(['decode', 'arm64_s2', '0x400', '0x1000000000000000']);
    expect(stdout).toContain('pte, pmd, pgd: not valid\npte, pmd, pgd (KVM 6.12): locked entry\n');
    expect(stdout).toContain('pte, pmd, pgd (KVM 7.2): locked entry\n');
  });

  test('a register is a level', async () => {
    const { stdout } = await gracewalk(['decode', 'ept', '0x583c1e05e', '--level', 'eptp']);
    expect(stdout).toContain('EPTP: EPTP at 0x583c1e000: AD PWL=3 (4 levels) MT=6 (WB)');
  });

  test('what fits nowhere is shown with the reasons', async () => {
    const { stdout } = await gracewalk(['decode', 'ept', '0x2']);
    expect(stdout).toMatch(/pte: 4 KiB page .* faults: misconfiguration: write\n {4}without read/);
  });

  test('--maxphyaddr tells what hardware refuses for its address', async () => {
    const value = '0x800fffffa7598063'; // a page frame number that was left inverted
    const anywhere = await gracewalk(['decode', 'x86_64', value, '--level', 'pte']);
    expect(anywhere.stdout).toContain('pte: 4 KiB page at 0xfffffa7598000: NX D A RW\n');
    const here = await gracewalk([
      'decode',
      'x86_64',
      value,
      '--level',
      'pte',
      '--maxphyaddr',
      '46',
    ]);
    expect(here.stdout).toContain('faults: address bits');
    expect(here.stdout).toContain('51..46 are beyond 46 bits');
    const bad = await gracewalk(['decode', 'x86_64', value, '--maxphyaddr', 'many']);
    expect([bad.code, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toContain("bad --maxphyaddr 'many'");
  });

  test('--json has every field as a number and says where the format stands', async () => {
    const { stdout } = await gracewalk(['decode', 'arm64', '0x68000080001f43', '--json']);
    const { schema, arch, values } = JSON.parse(stdout) as {
      schema: string;
      arch: string;
      values: { value: string; readings: Record<string, unknown>[] }[];
    };
    expect([schema, arch, values.length]).toEqual(['gracewalk.decode/1', 'arm64', 1]);
    const page = values[0]?.readings.find(({ levels }) => String(levels) === 'pte');
    expect(page).toMatchObject({
      format: '4 KiB page',
      kind: 'leaf',
      present: true,
      fault: null,
      address: '0x80001000',
      writable: true,
      user: true,
      dirty: true,
      fields: { DBM: '0x1', AP2: '0x0', SH: '0x3', OA: '0x80001' },
    });
    expect(page?.['source']).toContain('Arm ARM');
  });

  test('--json=lines is the same on one line', async () => {
    const [many, one] = await Promise.all(
      ['--json', '--json=lines'].map((form) => gracewalk(['decode', 's390', '0x400', form])),
    );
    expect(one?.stdout.trimEnd()).not.toContain('\n');
    expect(JSON.parse(one?.stdout ?? '')).toEqual(JSON.parse(many?.stdout ?? ''));
  });

  test('sixteen digits without 0x are a trap', async () => {
    const { code, stdout, stderr } = await gracewalk(['decode', 'x86_64', '8000000012345067']);
    expect(code).toBe(0);
    expect(stdout).toContain('0x001c6bf526f05eeb');
    expect(stderr).toContain('read as a decimal number; kernels print 0x8000000012345067 so');
  });

  test.each([
    [['x86_46', '1'], "no architecture 'x86_46'", 'did you mean x86_64?'],
    [['x86_64', 'deadbeef'], "'deadbeef' is not a page-table entry", 'did you mean 0xdeadbeef?'],
    [['x86_64', '0xg'], "'0xg' is not a page-table entry", 'decimal or hexadecimal'],
    [['x86_64', '0x10000000000000000'], 'has more than 64 bits', 'below 2^64'],
    [['x86_64', '1', '--level', 'pmf'], "x86_64 has no level 'pmf'", 'did you mean pmd?'],
    [['x86_64'], "missing required argument 'value'", 'help'],
  ])('%s is an error that says what to do', async (args, what, help) => {
    const { code, stdout, stderr } = await gracewalk(['decode', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(what);
    expect(stderr).toContain(help);
    expect(stderr).not.toContain('    at ');
  });
});

describe('explain', () => {
  test('lists what there is', async () => {
    const { stdout } = await gracewalk(['explain']);
    for (const { name } of TABLE_KINDS) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
  });

  test.each(['x86_pae', 's390'])('%s: levels, bits, rules, no line too long', async (name) => {
    const { code, stdout } = await gracewalk(['explain', name]);
    expect(code).toBe(0);
    for (const title of ['Entries', 'Fields', 'What hardware writes', 'What a flush waits for']) {
      expect(stdout).toContain(`\n${title}\n`);
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(75);
  });

  test('the table of levels', async () => {
    const { stdout } = await gracewalk(['explain', 'powerpc_radix_64k']);
    expect(stdout).toContain(`
  level  index   entries  table   leaf    called
  pgd    51..39  8192     64 KiB  -       root page directory
  pud    38..30  512      4 KiB   1 GiB   page directory
  pmd    29..21  512      4 KiB   2 MiB   page directory
  pte    20..16  32       256 B   64 KiB  page table
`);
  });

  test('--json has the whole descriptor', async () => {
    const { stdout } = await gracewalk(['explain', 'x86_pae', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'gracewalk.explain/1',
      name: 'x86_pae',
      access: { load: ['low', 'high', 'low'], set: ['high', 'low'], clear: ['low', 'high'] },
      levels: [{ bits: 9 }, { bits: 9 }, { bits: 2, bytes: 32 }],
    });
  });

  test('what there is not', async () => {
    const { code, stderr } = await gracewalk(['explain', 'risc']);
    expect(code).toBe(2);
    expect(stderr).toContain("nothing is known of 'risc'");
    expect(stderr).toContain('did you mean riscv_sv39?');
  });
});
