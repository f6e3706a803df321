/** Makes ELF cores as QEMU's dump-guest-memory writes them: a PT_NOTE, then a PT_LOAD per piece of memory. */

export interface CoreSegment {
  readonly start: bigint;
  readonly content: Buffer;
}

export interface CoreShape {
  readonly width: 32 | 64;
  readonly order: 'little' | 'big';
  /** ET_CORE if nothing is said. */
  readonly type?: number;
}

export function core(
  segments: readonly CoreSegment[],
  { width, order, type = 4 }: CoreShape,
): Buffer {
  const wide = width === 64;
  const [ehsize, phsize, shsize] = wide ? [64, 56, 64] : [52, 32, 40];
  const count = segments.length + 1;
  const many = count >= 0xffff;
  const headers = ehsize + count * phsize + (many ? shsize : 0);
  const out = Buffer.alloc(headers);
  const half = (at: number, v: number): unknown =>
    order === 'little' ? out.writeUInt16LE(v, at) : out.writeUInt16BE(v, at);
  const int = (at: number, v: number): unknown =>
    order === 'little' ? out.writeUInt32LE(v, at) : out.writeUInt32BE(v, at);
  const word = (at: number, v: bigint): unknown => {
    if (!wide) return int(at, Number(v));
    return order === 'little' ? out.writeBigUInt64LE(v, at) : out.writeBigUInt64BE(v, at);
  };
  out.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, order === 'little' ? 1 : 2, 1], 0);
  half(16, type);
  int(20, 1);
  word(wide ? 32 : 28, BigInt(ehsize));
  half(wide ? 52 : 40, ehsize);
  half(wide ? 54 : 42, phsize);
  half(wide ? 56 : 44, many ? 0xffff : count);
  int(ehsize, 4);
  if (many) {
    const section = ehsize + count * phsize;
    word(wide ? 40 : 32, BigInt(section));
    int(section + (wide ? 44 : 28), count);
  }
  let offset = headers;
  segments.forEach(({ start, content }, i) => {
    const at = ehsize + (i + 1) * phsize;
    int(at, 1);
    word(at + (wide ? 8 : 4), BigInt(offset));
    word(at + (wide ? 24 : 12), start);
    word(at + (wide ? 32 : 16), BigInt(content.length));
    offset += content.length;
  });
  return Buffer.concat([out, ...segments.map(({ content }) => content)]);
}
