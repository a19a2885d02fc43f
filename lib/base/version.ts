/** The version of this code, as package.json names it: a bundle has no package.json to read. */
export const version = '0.1.0'
