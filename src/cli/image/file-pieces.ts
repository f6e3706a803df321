/** Tables are a few KiB, and the tables of a level often stand together. */
const PIECE_BYTES = 16 * 1024;
/** 16 MiB of an image at a time. */
const MOST_PIECES = 1024;

/** Reads as much as there is into the whole buffer, and returns how much that was. */
export type ReadAt = (into: Uint8Array, offset: number) => number;

/** A file of any size, read in pieces of which the least recently used are forgotten. */
export class FilePieces {
  bytesRead = 0;
  /** How many pieces were kept at once. */
  peak = 0;
  private readonly readAt: ReadAt;
  private readonly pieces: Map<number, Uint8Array> = new Map();
  private latest: { readonly number: number; readonly piece: Uint8Array } | null = null;

  constructor(readAt: ReadAt) {
    this.readAt = readAt;
  }

  /** The bytes from `offset` on, or as many of them as the file has. */
  read(offset: number, bytes: number): DataView {
    // No file is that long, but a damaged header may say so.
    if (offset + bytes > Number.MAX_SAFE_INTEGER) return new DataView(new ArrayBuffer(0));
    const inPiece = offset % PIECE_BYTES;
    if (inPiece + bytes <= PIECE_BYTES) {
      const piece = this.piece((offset - inPiece) / PIECE_BYTES);
      return view(piece, inPiece, bytes);
    }
    const copy = new Uint8Array(bytes);
    let done = 0;
    while (done < bytes) {
      const at = (offset + done) % PIECE_BYTES;
      const wanted = Math.min(bytes - done, PIECE_BYTES - at);
      const part = view(this.piece((offset + done - at) / PIECE_BYTES), at, wanted);
      copy.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), done);
      done += part.byteLength;
      if (part.byteLength < wanted) break;
    }
    return view(copy, 0, done);
  }

  private piece(number: number): Uint8Array {
    if (this.latest?.number === number) return this.latest.piece;
    const known = this.pieces.get(number);
    const piece = known ?? this.load(number);
    // A Map keeps the order of insertion: the first is the one not used for longest.
    if (known) this.pieces.delete(number);
    this.pieces.set(number, piece);
    if (this.pieces.size > MOST_PIECES) {
      const [oldest] = this.pieces.keys();
      if (oldest !== undefined) this.pieces.delete(oldest);
    }
    this.peak = Math.max(this.peak, this.pieces.size);
    this.latest = { number, piece };
    return piece;
  }

  private load(number: number): Uint8Array {
    const buffer = new Uint8Array(PIECE_BYTES);
    const got = this.readAt(buffer, number * PIECE_BYTES);
    this.bytesRead += got;
    return buffer.subarray(0, got);
  }
}

function view(piece: Uint8Array, offset: number, bytes: number): DataView {
  const left = Math.max(0, Math.min(bytes, piece.byteLength - offset));
  return new DataView(piece.buffer, piece.byteOffset + Math.min(offset, piece.byteLength), left);
}
