package report

import (
	"regexp"
	"strings"
)

// ansi are the sequences by which programs colour what they write to a terminal (ECMA-48, 5.4).
var ansi = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")

// text is what others said without what no text should hold: bytes that are no UTF-8, control characters, such as those that
// move a terminal's cursor, and those that turn the direction of writing, which make a command look like another one.
func text(s string) string {
	if strings.ContainsRune(s, '\x1b') {
		s = ansi.ReplaceAllString(s, "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return -1
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfffe, r == 0xffff:
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func texts(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}
