//! Just enough of Rust's grammar to tell code from comments and strings.

/// A piece of source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier or a keyword; a number is one too.
    Word(String),
    /// The inside of a string literal of any kind, as written.
    Text(String),
    /// `::`, or any other single character that is not white space.
    Mark(String),
}

impl Token {
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Word(text) | Self::Mark(text) if text == code)
    }
}

/// The tokens of `source`, each with its line, from 1. Comments and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<(usize, Token)> {
    let mut reader = Reader { rest: source, line: 1, tokens: Vec::new() };
    while let Some(next) = reader.rest.chars().next() {
        reader.token(next);
    }
    reader.tokens
}

struct Reader<'s> {
    rest: &'s str,
    line: usize,
    tokens: Vec<(usize, Token)>,
}

impl<'s> Reader<'s> {
    fn token(&mut self, next: char) {
        let line = self.line;
        if next.is_whitespace() {
            self.take(next.len_utf8());
        } else if self.rest.starts_with("//") {
            self.take_until("\n");
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if next == '"' {
            self.take(1);
            let text = self.quoted();
            self.tokens.push((line, Token::Text(text)));
        } else if next == '\'' {
            self.character_or_lifetime();
        } else if next.is_alphanumeric() || next == '_' {
            self.word(line);
        } else {
            let mark = self.take(if self.rest.starts_with("::") { 2 } else { next.len_utf8() });
            self.tokens.push((line, Token::Mark(mark.to_owned())));
        }
    }

    /// Takes `bytes` bytes and counts their lines.
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Takes all before `end`, and `end`.
    fn take_until(&mut self, end: &str) -> &'s str {
        match self.rest.find(end) {
            Some(at) => self.take(at + end.len()).strip_suffix(end).expect("it was just found"),
            None => self.take(self.rest.len()),
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.take(self.rest.chars().next().map_or(0, char::len_utf8));
            }
        }
    }

    /// The rest of a string whose first quote is taken.
    fn quoted(&mut self) -> String {
        let mut escaped = false;
        let end = self.rest.char_indices().find(|&(_, c)| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let text = self.take(end.map_or(self.rest.len(), |(at, _)| at)).to_owned();
        self.take(self.rest.len().min(1));
        text
    }

    fn character_or_lifetime(&mut self) {
        let mut after = self.rest.chars().skip(1);
        match (after.next(), after.next()) {
            (Some('\\'), _) => {
                // The character after the backslash may be a quote itself.
                self.take(2);
                self.take(self.rest.chars().next().map_or(0, char::len_utf8));
                self.take_until("'");
            }
            (Some(c), Some('\'')) => {
                self.take(2 + c.len_utf8());
            }
            _ => {
                self.take(1);
                let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
                self.take(end);
            }
        }
    }

    fn word(&mut self, line: usize) {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = self.take(end);
        let text = match word {
            "b" | "c" if self.rest.starts_with('"') => {
                self.take(1);
                self.quoted()
            }
            "r" | "br" | "cr" if self.rest.trim_start_matches('#').starts_with('"') => {
                let hashes = self.take_until("\"");
                self.take_until(&format!("\"{hashes}")).to_owned()
            }
            "b" if self.rest.starts_with('\'') => return self.character_or_lifetime(),
            word => return self.tokens.push((line, Token::Word(word.to_owned()))),
        };
        self.tokens.push((line, Token::Text(text)));
    }
}

#[test]
fn comments_strings_and_lifetimes_are_told_from_code() {
    let source = r###"
        // crate::a "unclosed
        /* crate::b /* nested */ ' " */
        fn f<'a>(x: &'a str) -> char { '"'; '\''; b'"'; '\u{22}'; x.len() }
        let s = "crate::c \" // no comment
            two lines"; let r = r#"raw " \"#; b"bytes\0"; c"c";
        crate::d::e
    "###;
    let code: Vec<(usize, Token)> =
        tokens(source).into_iter().filter(|(_, token)| !matches!(token, Token::Mark(mark) if mark != "::")).collect();
    let word = |line, text: &str| (line, Token::Word(text.to_owned()));
    let text = |line, text: &str| (line, Token::Text(text.to_owned()));
    let path = |line| (line, Token::Mark("::".to_owned()));
    let expect = [
        [word(4, "fn"), word(4, "f"), word(4, "x"), word(4, "str"), word(4, "char"), word(4, "x"), word(4, "len")]
            .to_vec(),
        [word(5, "let"), word(5, "s"), text(5, "crate::c \\\" // no comment\n            two lines")].to_vec(),
        [word(6, "let"), word(6, "r"), text(6, "raw \" \\"), text(6, "bytes\\0"), text(6, "c")].to_vec(),
        [word(7, "crate"), path(7), word(7, "d"), path(7), word(7, "e")].to_vec(),
    ];
    assert_eq!(code, expect.concat());
}
