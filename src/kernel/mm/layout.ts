/** include/vdso/page.h. */
export const PAGE_SIZE = 4096;
