import { GracewalkError } from '../base/errors.ts';

/**
 * Writes results to stdout and remembers what became of it. A reader that has seen enough (`| head -1`) is
 * no error: we stop quietly. A full disk is one, because whoever reads the file would take it for complete.
 */
export class Output {
  private readonly stream: NodeJS.WritableStream;
  private readonly onClosed: () => void;
  /** The reader is gone. */
  closed = false;
  error: GracewalkError | null = null;

  constructor(stream: NodeJS.WritableStream, onClosed: () => void) {
    this.stream = stream;
    this.onClosed = onClosed;
    // Without a listener Node would throw, with a stack trace.
    stream.on('error', (error: NodeJS.ErrnoException) => this.failed(error));
  }

  /** Resolves when the text has left the process, or cannot any more. */
  write(text: string): Promise<void> {
    if (this.closed || this.error !== null || text === '') return Promise.resolve();
    return new Promise((resolve) => {
      this.stream.write(text, (error) => {
        if (error) this.failed(error);
        resolve();
      });
    });
  }

  private failed(error: NodeJS.ErrnoException): void {
    if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') {
      this.closed = true;
    } else {
      this.error ??= writeError(error);
    }
    this.onClosed();
  }
}

function writeError(error: NodeJS.ErrnoException): GracewalkError {
  const why = error.code === 'ENOSPC' ? 'no space left on the device' : error.message;
  return new GracewalkError('E701', `the result could not be written: ${why}`, {
    notes: ['what is in the file is incomplete'],
    help: 'make room, or write elsewhere, and run it again',
  });
}
