//! The ARPA format: text with a section for each order, as KenLM, SRILM and others read and write
//! it.
//!
//! A file starts with `\data\` and a line `ngram N=COUNT` for each order. Then each order has a
//! line `\N-grams:` and a line for each n-gram: log₁₀ probability, words, and a log₁₀ backoff that
//! may be missing. The last line is `\end\`. Fields are separated by spaces or tabs.
//!
//! As in KenLM, `<unk>` (or `<UNK>`) has log₁₀ p = −100 where the file lacks it, `<s>` and `</s>`
//! are required, and a probability above 1 is an error. Unlike in KenLM, an n-gram whose context or
//! suffix is missing is not an error. The file is not trusted: memory grows with what is read, not
//! with the counts that the file announces.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::path::Path;

use crate::ngram::build::build;
use crate::ngram::model::{Model, Node, Trie, Vocabulary};
use crate::ngram::{Entry, MAX_ORDER, NgramError, SPECIAL, unk};

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Log₁₀ probability of unknown words if the file has no `<unk>`, as in KenLM.
const UNK_MISSING: f32 = -100.0;

/// Names of the special entries, in the order of their numbers behind the vocabulary.
const SPECIAL_NAMES: [&str; SPECIAL] = ["<unk>", "<s>", "</s>"];

/// The place of a word in [`SPECIAL_NAMES`]; `None` for a token.
fn special(word: &str) -> Option<usize> {
    SPECIAL_NAMES
        .iter()
        .position(|name| *name == word)
        .or((word == "<UNK>").then_some(0))
}

/// Reads a model in ARPA form. `tokenizer` is written into the model's header and says what makes
/// the model's tokens.
///
/// # Errors
/// [`NgramError::Arpa`] with the line, [`NgramError::Malformed`] if an n-gram of order 2 or more
/// occurs twice, or [`NgramError::TooLarge`].
pub fn read_arpa(reader: impl BufRead, tokenizer: &str) -> Result<Model, NgramError> {
    let mut lines = Lines {
        reader,
        line: Vec::new(),
        number: 0,
    };

    let counts = header(&mut lines)?;
    let (names, unigrams) = read_unigrams(&mut lines, &counts)?;

    let mut levels = vec![unigrams];
    for n in 2..=counts.len() {
        lines.expect(&format!("\\{n}-grams:"))?;
        levels.push(read_ngrams(&mut lines, &counts, n, &names)?);
    }

    lines.expect("\\end\\")?;

    let mut pieces = vec![""; names.len()];
    names
        .iter()
        .for_each(|(name, &id)| pieces[id as usize] = name);

    build(tokenizer, &pieces, levels)
}

/// The lines of a file, without empty ones.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line and its number, from 1. `expected` is for the message at the end of the file.
    fn next(&mut self, expected: &str) -> Result<(u64, &str), NgramError> {
        loop {
            self.line.clear();
            self.number += 1;

            // One byte more than allowed is enough to tell that a line is too long.
            let read = self
                .reader
                .by_ref()
                .take(LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut self.line);

            match read {
                Err(e) => return Err(wrong(self.number, format!("cannot be read: {e}"))),
                Ok(0) => {
                    return Err(wrong(
                        self.number,
                        format!("the file ends, expected {expected}"),
                    ));
                }
                Ok(bytes) if bytes > LINE_BYTES_MAX => {
                    return Err(wrong(
                        self.number,
                        format!("the line has more than {LINE_BYTES_MAX} bytes"),
                    ));
                }
                Ok(_) if self.line.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }

        let line = str::from_utf8(&self.line)
            .map_err(|_| wrong(self.number, "the line is not UTF-8".to_owned()))?;

        Ok((self.number, line.trim_matches(is_blank)))
    }

    /// Reads a line that must be `expected`.
    fn expect(&mut self, expected: &str) -> Result<(), NgramError> {
        match self.next(expected)? {
            (_, line) if line == expected => Ok(()),
            (number, line) => Err(wrong(
                number,
                format!("{}, expected {expected}", shown(line)),
            )),
        }
    }
}

/// Whether a character separates fields.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// An error in a line.
fn wrong(line: u64, reason: String) -> NgramError {
    NgramError::Arpa { line, reason }
}

/// The first bytes of what was found, at most 60, for a message.
fn shown(found: &str) -> String {
    format!("found {:?}", &found[..found.floor_char_boundary(60)])
}

/// Reads the counts of n-grams, one per order, and the line after them, which begins the unigrams.
fn header(lines: &mut Lines<impl BufRead>) -> Result<Vec<u32>, NgramError> {
    lines.expect("\\data\\")?;

    let mut counts: Vec<u32> = Vec::new();
    loop {
        let n = counts.len() + 1;
        let (number, line) = lines.next("the number of n-grams")?;

        if line == "\\1-grams:" && n > 1 {
            return Ok(counts);
        }

        let count = line
            .strip_prefix("ngram ")
            .and_then(|field| field.split_once('='));
        let Some((_, count)) = count.filter(|(order, _)| order.trim().parse() == Ok(n)) else {
            return Err(wrong(
                number,
                format!("{}, expected ngram {n}=COUNT", shown(line)),
            ));
        };

        if n > MAX_ORDER {
            return Err(wrong(
                number,
                format!("found {n}-grams, expected at most {MAX_ORDER}-grams"),
            ));
        }

        counts.push(count.trim().parse().map_err(|_| {
            wrong(
                number,
                format!("{}, expected a count of at most {}", shown(count), u32::MAX),
            )
        })?);
    }
}

/// The fields of a line of an n-gram.
struct Fields<'a> {
    /// Log₁₀ probability, finite.
    prob: f32,
    /// The words, the last one first, then empty ones.
    words: [&'a str; MAX_ORDER],
    /// Log₁₀ backoff, finite; 0 where the line has none.
    backoff: f32,
}

/// Reads the next line, which must be an `n`-gram, and returns its number and fields.
fn next_ngram<'a, R: BufRead>(
    lines: &'a mut Lines<R>,
    counts: &[u32],
    n: usize,
) -> Result<(u64, Fields<'a>), NgramError> {
    let (number, line) = lines.next("an n-gram")?;

    let expected = if n < counts.len() {
        "a probability, words and perhaps a backoff"
    } else {
        "a probability and words"
    };

    let fields = fields(line, n, n == counts.len()).ok_or_else(|| {
        let announced = counts[n - 1];
        wrong(
            number,
            format!(
                "{}, expected one of {announced} {n}-grams: {expected}",
                shown(line)
            ),
        )
    })?;

    if fields.prob > 0.0 {
        return Err(wrong(
            number,
            format!(
                "found a log-probability of {}, expected at most 0",
                fields.prob
            ),
        ));
    }

    Ok((number, fields))
}

/// The fields of a line of an `n`-gram; `None` if there are too few or too many, or a number is not
/// finite.
fn fields(line: &str, n: usize, is_highest: bool) -> Option<Fields<'_>> {
    let mut parts = line.split(is_blank).filter(|part| !part.is_empty());
    let number = |part: &str| part.parse::<f32>().ok().filter(|number| number.is_finite());

    let mut fields = Fields {
        prob: number(parts.next()?)?,
        words: [""; MAX_ORDER],
        backoff: 0.0,
    };

    for word in fields.words[..n].iter_mut().rev() {
        *word = parts.next()?;
    }

    if let Some(backoff) = parts.next() {
        fields.backoff = number(backoff)?;
    }

    // In the highest order a backoff has no meaning. KenLM reads a 0 there, and writes one for the
    // unigrams of a model of order 1.
    let is_whole = parts.next().is_none() && !(is_highest && fields.backoff != 0.0);
    is_whole.then_some(fields)
}

/// Reads the unigrams. Returns the tokens, numbered in the order of their lines, and the unigrams
/// in the order of their numbers, the special ones last.
fn read_unigrams(
    lines: &mut Lines<impl BufRead>,
    counts: &[u32],
) -> Result<(HashMap<String, u32>, Vec<Entry>), NgramError> {
    let mut names = HashMap::new();
    let mut unigrams = Vec::new();
    let mut specials = [None; SPECIAL];

    for _ in 0..counts[0] {
        let (number, fields) = next_ngram(lines, counts, 1)?;

        let mut entry = Entry {
            words: [0; MAX_ORDER],
            prob: fields.prob,
            backoff: fields.backoff,
        };

        let word = fields.words[0];

        // The numbers of special words follow the vocabulary, whose size is not known before the
        // last line.
        let twice = if let Some(i) = special(word) {
            specials[i].replace(entry).is_some()
        } else {
            entry.words[0] = unigrams.len() as u32;
            unigrams.push(entry);
            names.insert(word.to_owned(), entry.words[0]).is_some()
        };

        if twice {
            return Err(wrong(
                number,
                format!("{}, which is already among the unigrams", shown(word)),
            ));
        }
    }

    for (i, entry) in specials.into_iter().enumerate() {
        // `<unk>` is the only one with a default.
        let missing = (i == 0).then_some(Entry {
            words: [0; MAX_ORDER],
            prob: UNK_MISSING,
            backoff: 0.0,
        });

        let Some(mut entry) = entry.or(missing) else {
            return Err(wrong(
                lines.number,
                format!("{} is not among the unigrams", SPECIAL_NAMES[i]),
            ));
        };

        entry.words[0] = unigrams.len() as u32;
        unigrams.push(entry);
    }

    Ok((names, unigrams))
}

/// Reads the n-grams of order `n`, 2 or more; their words must be among the unigrams.
fn read_ngrams(
    lines: &mut Lines<impl BufRead>,
    counts: &[u32],
    n: usize,
    names: &HashMap<String, u32>,
) -> Result<Vec<Entry>, NgramError> {
    let mut level = Vec::new();
    for _ in 0..counts[n - 1] {
        let (number, fields) = next_ngram(lines, counts, n)?;

        let mut entry = Entry {
            words: [0; MAX_ORDER],
            prob: fields.prob,
            backoff: fields.backoff,
        };

        for (id, word) in entry.words.iter_mut().zip(&fields.words[..n]) {
            let known = special(word)
                .map(|i| unk(names.len()) + i as u32)
                .or_else(|| names.get(*word).copied());

            *id = known.ok_or_else(|| {
                wrong(
                    number,
                    format!("{}, which is not among the unigrams", shown(word)),
                )
            })?;
        }

        level.push(entry);
    }
    Ok(level)
}

/// Writes a model in ARPA form. N-grams come in the order of their words, last one first. KenLM
/// reads such a file from order 2 on.
///
/// # Errors
/// [`NgramError::Piece`] if a token's name is empty, contains white space or is the name of a
/// special one, [`NgramError::Io`], or [`NgramError::Malformed`] if the model is damaged.
pub fn write_arpa(model: &Model, path: &Path) -> Result<(), NgramError> {
    model.verify()?;

    let trie = model.trie();
    let names = names(model.vocabulary(), &trie)?;

    let file = File::create(path).map_err(NgramError::io("create", path))?;
    write_levels(&trie, &names, &mut BufWriter::new(file)).map_err(NgramError::io("write", path))
}

/// The names of all unigrams by number, the special ones last. The name of a token that the model
/// lacks is not checked, since no line has it.
fn names<'a>(vocabulary: Vocabulary<'a>, trie: &Trie) -> Result<Vec<&'a str>, NgramError> {
    let mut names = Vec::new();
    for id in 0..vocabulary.len() {
        let piece = vocabulary.piece(id as u32).unwrap_or_default();
        let absent = trie.levels[0].node(id).prob.is_nan();

        if !absent && !is_word(piece) {
            return Err(NgramError::Piece {
                id,
                piece: piece.to_owned(),
                reason: "cannot be a word of an ARPA file",
            });
        }

        names.push(piece);
    }

    names.extend(SPECIAL_NAMES);
    Ok(names)
}

/// Whether a name can be a token in a line of an ARPA file.
fn is_word(piece: &str) -> bool {
    !piece.is_empty()
        && special(piece).is_none()
        && !piece.contains(|c: char| matches!(c, '\0' | '\t'..='\r' | ' '))
}

/// Writes the counts and the n-grams of all orders.
fn write_levels(trie: &Trie, names: &[&str], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "\\data\\")?;

    // Nodes without a probability are only there for longer n-grams, and get no line.
    for n in 1..=trie.order {
        let level = &trie.levels[n - 1];
        let count = (0..level.nodes)
            .filter(|&at| !level.node(at).prob.is_nan())
            .count();
        writeln!(out, "ngram {n}={count}")?;
    }

    for n in 1..=trie.order {
        writeln!(out, "\n\\{n}-grams:")?;
        walk(
            trie,
            n,
            (0, trie.levels[0].nodes),
            &mut Vec::new(),
            &mut |words, node| {
                write!(out, "{}\t", node.prob)?;
                for (i, &word) in words.iter().rev().enumerate() {
                    write!(
                        out,
                        "{}{}",
                        if i > 0 { " " } else { "" },
                        names[word as usize]
                    )?;
                }

                if n < trie.order {
                    writeln!(out, "\t{}", node.backoff)
                } else {
                    writeln!(out)
                }
            },
        )?;
    }

    writeln!(out, "\n\\end\\")?;
    out.flush()
}

/// What [`walk`] does with an n-gram's words, last one first, and its node.
type Action<'a> = dyn FnMut(&[u32], Node) -> std::io::Result<()> + 'a;

/// Calls `action` with every n-gram of order `n` below the nodes of a range. `words` is the path to
/// the range, the last word of the n-gram first.
fn walk(
    trie: &Trie,
    n: usize,
    range: (usize, usize),
    words: &mut Vec<u32>,
    action: &mut Action,
) -> std::io::Result<()> {
    let level = &trie.levels[words.len()];
    for at in range.0..range.1 {
        let node = level.node(at);
        words.push(node.word);

        if words.len() < n {
            walk(trie, n, node.children, words, action)?;
        } else if !node.prob.is_nan() {
            action(words, node)?;
        }

        words.pop();
    }
    Ok(())
}
