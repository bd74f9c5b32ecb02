package traffic

import (
	"bytes"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// sent is what a write said of a field: a text of its own, or JSON.
type sent struct {
	text string
	json bool
}

func sentText(s string) sent { return sent{text: s} }
func sentJSON(s string) sent { return sent{text: s, json: true} }

// String is the value for people.
func (s sent) String() string {
	if s.json {
		if r := gjson.Parse(s.text); r.Type == gjson.String {
			return r.Str
		}
	}
	return s.text
}

// same says whether a value of the database is what was sent: numbers by value, however they are written, times to the
// microsecond, which is Postgres's resolution, documents by content, all else by its text.
func (s sent) same(found any) bool {
	kind, text := gjson.String, s.text
	if s.json {
		r := gjson.Parse(s.text)
		kind, text = r.Type, r.Raw
		if kind == gjson.String {
			text = r.Str
		}
	}
	if found == nil || kind == gjson.Null {
		return found == nil && kind == gjson.Null
	}
	switch f := found.(type) {
	case string:
		if kind == gjson.JSON {
			return sameDocument(f, text)
		}
		return f == text || kind == gjson.Number && sameNumber(f, text)
	case bool:
		return text == strconv.FormatBool(f) || text == strconv.FormatBool(f)[:1]
	case time.Time:
		t, ok := parseTime(text)
		return ok && t.Sub(f).Abs() < time.Microsecond
	case [16]byte:
		return strings.EqualFold(foundText(f), text)
	case map[string]any, []any:
		document, err := json.Marshal(f)
		return err == nil && sameDocument(string(document), text)
	}
	n := foundText(found)
	return n == text || sameNumber(n, text)
}

// foundText is a value of the database as a text.
func foundText(found any) string {
	switch f := found.(type) {
	case nil:
		return "NULL"
	case string:
		return f
	case float64:
		return strconv.FormatFloat(f, 'g', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(f), 'g', -1, 32)
	case time.Time:
		return f.Format(time.RFC3339Nano)
	case [16]byte:
		h := hex.EncodeToString(f[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	case map[string]any, []any:
		if b, err := json.Marshal(f); err == nil {
			return string(b)
		}
	case driver.Valuer: // numeric, among others
		if v, err := f.Value(); err == nil && v != nil {
			return fmt.Sprint(v)
		}
	}
	return fmt.Sprint(found)
}

// decimal is a number that is compared by value; longer exponents would let a value fill the memory.
var decimal = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$`)

func sameNumber(a, b string) bool {
	if !decimal.MatchString(a) || !decimal.MatchString(b) {
		return false
	}
	x, ok := new(big.Rat).SetString(a)
	if !ok {
		return false
	}
	y, ok := new(big.Rat).SetString(b)
	return ok && x.Cmp(y) == 0
}

func sameDocument(a, b string) bool {
	x, okX := document(a)
	y, okY := document(b)
	return okX && okY && reflect.DeepEqual(x, y)
}

// document is JSON as a value, its numbers in lowest terms.
func document(s string) (any, bool) {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, false
	}
	return plainNumbers(v), true
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case json.Number:
		if decimal.MatchString(v.String()) {
			if r, ok := new(big.Rat).SetString(v.String()); ok {
				return json.Number(r.RatString())
			}
		}
	}
	return v
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// differences compares a row with what a write sent. columns is the place of each field's column. A field that the
// acknowledgement was to give and did not is not compared: nobody was promised a value.
func (e *entry) differences(row []any, columns []int) []string {
	var wrong []string
	varying := 0
	for i := range e.write.fields {
		f := &e.write.fields[i]
		want := f.fixed
		if f.varies() {
			want = sent{text: e.values[varying], json: f.raw || f.path != ""}
			varying++
			if f.path != "" && want.text == "" {
				continue
			}
		}
		if found := row[columns[i]]; !want.same(found) {
			wrong = append(wrong, shorten(fmt.Sprintf("%s: sent %s, found %s", f.column, want, foundText(found)), errorLimit))
		}
	}
	return wrong
}
