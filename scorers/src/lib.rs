//! Text to numbers: pure kernels over `&str`, without clock or hidden state. The same text gives the
//! same numbers on any machine, thread and batch. Models, tokenizers and lists are the only files
//! that are read.
//!
//! | where | what |
//! |---|---|
//! | [`words`] | the words of the rules: spaCy's for English, UAX-29 with punctuation for others |
//! | [`rules`] | the values behind the rules of Gopher, C4, FineWeb and RefinedWeb; lists of words and addresses |
//! | [`html`] | the text of an HTML page, its title, its licence, and the use that it reserves |
//! | [`edits`] | what a step that rewrites a text changed in it, and why |
//! | [`study_note`] | the heuristic score of one document |
//! | [`language`] | the language of a document, from a bounded sample, and whether it is mixed |
//! | [`shingles`], [`minhash`] | near-duplicates: word n-grams, exact Jaccard, signatures and LSH band keys |
//! | [`datatrove`] | the same as datatrove 0.10 makes them, for parity |
//! | [`normalize`] | hashes for exact deduplication that look past case and punctuation |
//! | [`paragraphs`] | paragraphs and lines of a text, as spans with a hash |
//! | [`pii`] | personal data and secrets, as spans with a kind |
//! | [`texture`] | how new, ordered and well-formed a text is, without a model or a language |
//! | [`tokenizer`] | token counts, with the embedded or any other `tokenizer.json` |
//! | [`lm`] | how surprised a language model is by a text: Qwen2 and Llama, from safetensors or GGUF, in candle |
//! | [`ngram`] | how surprised an n-gram model is by a text: training, a mapped file, ARPA, CCNet's perplexity |
//! | [`fasttext`] | the labels of a text by a fastText model: `.bin` and `.ftz` of the reference |
//! | [`calibrate`] | the worth of a bucket's tokens, fitted to held-out losses of many small models |
//! | [`maps`] | from a raw value to a term of q, and where the tails of a distribution begin |
//! | [`unseen`] | characters that a person cannot see, and texts of nothing else |
//! | [`drift`] | how far two samples of scores are apart, and whether that is more than noise |
//! | [`loss`] | scaling laws: loss of N parameters on D tokens, and what repeated tokens are worth |
//! | [`python`] | CPython's `\w`, `lower`, `strip`, `splitlines`, for what must agree with Python to the bit |

mod hash_index;
mod mapped;

pub mod calibrate;
pub mod datatrove;
pub mod drift;
pub mod edits;
pub mod fasttext;
pub mod html;
pub mod language;
pub mod lm;
pub mod loss;
pub mod maps;
pub mod minhash;
pub mod ngram;
pub mod normalize;
pub mod paragraphs;
pub mod pii;
pub mod python;
pub mod rules;
pub mod shingles;
pub mod study_note;
pub mod texture;
pub mod tokenizer;
pub mod unseen;
pub mod words;
