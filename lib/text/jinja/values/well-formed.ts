/** Lone surrogates have no UTF-8 form: they become U+FFFD, as everywhere in JavaScript. */
export const wellFormed = (text: string) => text.replace(/\p{Surrogate}/gu, '\ufffd')
