export declare function compile(source: string, filename: string): string;
