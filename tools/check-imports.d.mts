export interface Offence {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}
export declare const LAYERS: Readonly<Record<string, readonly string[]>>;
export declare const TYPES_ONLY: Readonly<Record<string, readonly string[]>>;
export declare function checkImports(file: string, source: string): Offence[];
