package traffic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// A template is a text with {placeholders}, compiled: pieces of text, and slots of a journey's values.
type template []piece

type piece struct {
	text string
	slot int // when text is empty
	form form
}

// form is how a value is written where it stands.
type form uint8

const (
	plain  form = iota
	header      // without control characters
	path        // escaped for a URL's path
	query       // escaped for a URL's query
	quoted      // inside a string of JSON
)

var placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// compile makes a template of a text. slot gives the place of a name's value.
func compile(text string, f form, slot func(name string) (int, error)) (template, error) {
	var t template
	last := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		if m[0] > last {
			t = append(t, piece{text: text[last:m[0]]})
		}
		n, err := slot(text[m[2]:m[3]])
		if err != nil {
			return nil, err
		}
		at := f
		if f == path && strings.Contains(text[:m[0]], "?") {
			at = query
		}
		t = append(t, piece{slot: n, form: at})
		last = m[1]
	}
	if last < len(text) {
		t = append(t, piece{text: text[last:]})
	}
	return t, nil
}

// fixed is the text of a template without slots.
func (t template) fixed() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].text != "":
		return t[0].text, true
	}
	return "", false
}

// string is the template with its values.
func (t template) string(values []string) string {
	if len(t) == 1 && t[0].text == "" && t[0].form == plain {
		return values[t[0].slot]
	}
	if s, ok := t.fixed(); ok {
		return s
	}
	return string(t.append(nil, values))
}

func (t template) append(b []byte, values []string) []byte {
	for i := range t {
		p := &t[i]
		if p.text != "" {
			b = append(b, p.text...)
			continue
		}
		v := values[p.slot]
		switch {
		case p.form == plain || harmless(v):
			b = append(b, v...)
		case p.form == header:
			b = append(b, strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, v)...)
		case p.form == path:
			b = append(b, url.PathEscape(v)...)
		case p.form == query:
			b = append(b, url.QueryEscape(v)...)
		case p.form == quoted:
			b = appendQuoted(b, v)
		}
	}
	return b
}

// harmless texts need no escaping anywhere.
func harmless(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func appendQuoted(b []byte, s string) []byte {
	text, err := encode(s)
	if err != nil {
		return b
	}
	return append(b, text[1:len(text)-1]...)
}

// encode is a value as JSON with <, > and & as they are.
func encode(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("write as JSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// jsonPath turns "$.items[0].id" into the path of gjson, "items.0.id"; "$" is the whole answer.
func jsonPath(p string) (string, bool) {
	rest, ok := strings.CutPrefix(p, "$")
	if !ok {
		return "", false
	}
	rest = strings.ReplaceAll(strings.ReplaceAll(rest, "[", "."), "]", "")
	if rest == "" {
		return "@this", true
	}
	return strings.CutPrefix(rest, ".")
}
