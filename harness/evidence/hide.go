package evidence

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// mask stands in place of a secret.
const mask = "[secret]"

// hidden is a set of secrets and the forms in which they may appear. It is not changed once it is in use.
type hidden struct {
	forms  []string // as they may stand in a text, longest first
	traces [][]byte // as they may stand in a line of JSON: when none is there, the line is clean
}

// with is the set with more secrets.
func (h *hidden) with(secrets []string) *hidden {
	var forms []string
	if h != nil {
		forms = slices.Clone(h.forms)
	}
	for _, secret := range secrets {
		parts := []string{strings.TrimRight(secret, "\r\n")}
		if strings.Contains(parts[0], "\n") {
			// Output is logged by the line, so the lines of a key file are secrets too; short ones say nothing.
			for line := range strings.Lines(parts[0]) {
				if line = strings.TrimSpace(line); len(line) >= 8 {
					parts = append(parts, line)
				}
			}
		}
		for _, part := range parts {
			if part == "" {
				continue
			}
			_, password, _ := strings.Cut(url.UserPassword("", part).String(), ":")
			forms = append(forms, part, quoted(part, false), quoted(part, true), url.QueryEscape(part), url.PathEscape(part), password)
		}
	}
	if len(forms) == 0 {
		return h
	}
	slices.SortFunc(forms, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	forms = slices.Compact(forms)
	n := &hidden{forms: forms}
	seen := map[string]bool{}
	for _, form := range forms {
		for _, trace := range []string{form, quoted(form, false)} {
			if !seen[trace] {
				seen[trace] = true
				n.traces = append(n.traces, []byte(trace))
			}
		}
	}
	return n
}

// quoted is a text as it stands inside a JSON string.
func quoted(s string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(s); err != nil {
		return s
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

func (h *hidden) text(s string) string {
	for _, form := range h.forms {
		s = strings.ReplaceAll(s, form, mask)
	}
	return s
}

// json is a line of JSON in which the strings, and only they, are clean: a secret such as "1" must not break the line.
func (h *hidden) json(line []byte) []byte {
	dirty := false
	for _, trace := range h.traces {
		if bytes.Contains(line, trace) {
			dirty = true
			break
		}
	}
	if !dirty {
		return line
	}
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); {
		if line[i] != '"' {
			out = append(out, line[i])
			i++
			continue
		}
		end := i + 1
		for end < len(line) && line[end] != '"' {
			if line[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(line))
		literal := line[i:end]
		i = end
		var s string
		isKey := end < len(line) && line[end] == ':'
		if isKey || json.Unmarshal(literal, &s) != nil {
			out = append(out, literal...)
			continue
		}
		if clean := h.text(s); clean != s {
			literal = []byte(`"` + quoted(clean, false) + `"`)
		}
		out = append(out, literal...)
	}
	return out
}
