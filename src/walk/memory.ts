/** Physical memory as a walk reads it: an image in a file, or a guest's memory behind a second stage. */
export interface PhysicalMemory {
  /** The bytes from `address` on: all of them, or what is missing. They never change afterwards. */
  read(address: bigint, bytes: number): DataView | Missing;
}

/** What cannot be read, and why. */
export class Missing {
  /** The first byte that is missing; guest-physical if a second stage has no page for it. */
  readonly address: bigint;
  readonly why: string;

  constructor(address: bigint, why: string) {
    this.address = address;
    this.why = why;
  }
}

/** Reads across the borders of pages or segments; `piece` gives as much as there is before the next one. */
export function readAcross(
  piece: (address: bigint, bytes: number) => DataView | Missing,
  address: bigint,
  bytes: number,
): DataView | Missing {
  const first = piece(address, bytes);
  if (first instanceof Missing || first.byteLength === bytes) return first;
  const whole = new Uint8Array(bytes);
  let part: DataView | Missing = first;
  for (let done = 0; ; part = piece(address + BigInt(done), bytes - done)) {
    if (part instanceof Missing) return part;
    whole.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), done);
    done += part.byteLength;
    if (done === bytes) return new DataView(whole.buffer);
  }
}
