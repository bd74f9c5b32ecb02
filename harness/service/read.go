package service

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file, far beyond what anybody writes by hand: the parser takes time that grows with the square of how deep
// a file nests.
const (
	largest = 256 << 10 // bytes
	opened  = 4000      // brackets, braces and dashes
)

// file is one YAML file while it is read. Mistakes are gathered, so that one reading tells all of them.
type file struct {
	path     string
	mistakes []mistake
}

type mistake struct {
	line, column int
	text         string
}

// value is a node of the file and what it is in words; a nil value is one that is not there, and reads as zero.
type value struct {
	f    *file
	node ast.Node
	what string
}

// pair is one entry of a mapping.
type pair struct {
	name string
	key  *value
	*value
}

// object is a mapping with known keys.
type object struct {
	*value
	pairs []pair
}

// parse reads the text of a file. The value is nil when there is none or it is not YAML.
func parse(path string, text []byte) (*file, *value) {
	f := &file{path: path}
	if len(text) > largest {
		f.add(1, 1, "expected at most %d bytes, found %d", largest, len(text))
		return f, nil
	}
	if n := bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{")) + bytes.Count(text, []byte("- ")); n > opened {
		f.add(1, 1, "expected at most %d lists and mappings, found %d", opened, n)
		return f, nil
	}
	tree, err := parser.ParseBytes(text, 0)
	var at yaml.Error
	switch {
	case errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil:
		p := at.GetToken().Position
		f.add(p.Line, p.Column, "expected YAML, found: %s", at.GetMessage())
		return f, nil
	case err != nil:
		f.add(1, 1, "expected YAML, found: %v", err)
		return f, nil
	}
	var bodies []ast.Node
	for _, d := range tree.Docs {
		if _, comment := d.Body.(*ast.CommentGroupNode); d.Body != nil && !comment {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) != 1 {
		f.add(1, 1, "expected one YAML document, found %d", len(bodies))
		return f, nil
	}
	return f, &value{f: f, node: bodies[0], what: "the file"}
}

func (f *file) add(line, column int, format string, args ...any) {
	f.mistakes = append(f.mistakes, mistake{line, column, fmt.Sprintf(format, args...)})
}

// err is all mistakes in the order of the file, each with its place.
func (f *file) err() error {
	slices.SortStableFunc(f.mistakes, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var all []error
	for _, m := range f.mistakes {
		all = append(all, fmt.Errorf("%s:%d:%d: %s", f.path, m.line, m.column, m.text))
	}
	return errors.Join(all...)
}

// wrong notes a mistake at the value.
func (v *value) wrong(format string, args ...any) {
	if v == nil {
		return
	}
	line, column := v.at()
	v.f.add(line, column, format, args...)
}

// expected notes that something else was found.
func (v *value) expected(format string, args ...any) {
	if v != nil {
		v.wrong("expected %s in %s, found %s", fmt.Sprintf(format, args...), v.what, found(v.node))
	}
}

func (v *value) at() (line, column int) {
	t := position(v.node)
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return t.Position.Line, t.Position.Column
}

func (v *value) line() int {
	if v == nil {
		return 0
	}
	line, _ := v.at()
	return line
}

// textLine is the line where a text begins: that of a block begins below its mark.
func (v *value) textLine() int {
	if v == nil {
		return 0
	}
	if _, block := v.node.(*ast.LiteralNode); block {
		return v.line() + 1
	}
	return v.line()
}

// position is the first token of a node; that of a mapping is its first key, where a reader looks.
func position(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0])
		}
	case *ast.MappingValueNode:
		if n.Key != nil {
			return n.Key.GetToken()
		}
	}
	return n.GetToken()
}

// found says a node in words.
func found(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias; write it out"
	case *ast.TagNode:
		return "a tag; leave it away"
	case *ast.StringNode:
		return fmt.Sprintf("%q", shorten(n.Value, 60))
	case *ast.LiteralNode:
		return "a text block"
	default:
		if t := n.GetToken(); t != nil {
			return shorten(t.Value, 60)
		}
		return n.Type().String()
	}
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// scalar is the text of a node as it was written, and whether the node is a text, a number or a truth value.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value != nil {
			return n.Value.Value, true
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

// pairs are the entries of a mapping, in the order of the file.
func (v *value) pairs() []pair {
	if v == nil {
		return nil
	}
	var nodes []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		nodes = n.Values
	case *ast.MappingValueNode:
		nodes = []*ast.MappingValueNode{n}
	default:
		v.expected("a mapping")
		return nil
	}
	var all []pair
	seen := map[string]bool{}
	for _, n := range nodes {
		key := &value{f: v.f, node: n, what: v.what}
		name, ok := scalar(n.Key)
		switch {
		case !ok || name == "":
			key.wrong("expected a plain key in %s, found %s", v.what, found(n.Key))
		case seen[name]:
			key.wrong("expected %q once in %s, found it again", name, v.what)
		default:
			seen[name] = true
			all = append(all, pair{name, key, &value{f: v.f, node: n.Value, what: name}})
		}
	}
	return all
}

// object is a mapping that has none but known keys.
func (v *value) object(known ...string) *object {
	o := &object{value: v}
	for _, p := range v.pairs() {
		if slices.Contains(known, p.name) {
			o.pairs = append(o.pairs, p)
			continue
		}
		p.key.wrong("expected %s in %s, found %q%s", oneOf(known), v.what, p.name, meant(p.name, known))
	}
	return o
}

// get is the value of a key; nil when it is not there.
func (o *object) get(name string) *value {
	for _, p := range o.pairs {
		if p.name == name {
			return p.value
		}
	}
	return nil
}

// must is the value of a key that may not be left away.
func (o *object) must(name, why string) *value {
	v := o.get(name)
	if v == nil && o.value != nil && o.isMapping() {
		if why != "" {
			why = ": " + why
		}
		o.wrong("expected %q in %s, found none%s", name, o.what, why)
	}
	return v
}

// exactly is the one of the names that is there.
func (o *object) exactly(names ...string) string {
	var there []string
	for _, n := range names {
		if o.get(n) != nil {
			there = append(there, n)
		}
	}
	if len(there) == 1 {
		return there[0]
	}
	if o.value != nil && o.isMapping() {
		o.wrong("expected exactly one of %s in %s, found %s", strings.Join(names, ", "), o.what, cmp.Or(strings.Join(there, ", "), "none"))
	}
	return ""
}

func (v *value) isMapping() bool {
	if v == nil {
		return false
	}
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func (v *value) isList() bool {
	if v == nil {
		return false
	}
	_, ok := v.node.(*ast.SequenceNode)
	return ok
}

// list is the items of a list.
func (v *value) list() []*value {
	if v == nil {
		return nil
	}
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.expected("a list")
		return nil
	}
	var all []*value
	for i, item := range n.Values {
		all = append(all, &value{f: v.f, node: item, what: fmt.Sprintf("%s, item %d", v.what, i+1)})
	}
	return all
}

// text is a text that is not empty; numbers and truth values are taken as they are written.
func (v *value) text() string {
	if v == nil {
		return ""
	}
	s, ok := scalar(v.node)
	if !ok || strings.TrimSpace(s) == "" {
		v.expected("a text")
		return ""
	}
	return s
}

// texts is a list of texts.
func (v *value) texts() []string {
	var all []string
	for _, item := range v.list() {
		if s := item.text(); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// table is a mapping of names to texts; empty texts are allowed.
func (v *value) table() map[string]string {
	if v == nil {
		return nil
	}
	all := map[string]string{}
	for _, p := range v.pairs() {
		s, ok := scalar(p.node)
		if !ok {
			p.expected("a text")
			continue
		}
		all[p.name] = s
	}
	return all
}

// choice is one of the texts.
func (v *value) choice(of ...string) string {
	if v == nil {
		return ""
	}
	s, ok := scalar(v.node)
	if ok && slices.Contains(of, s) {
		return s
	}
	v.wrong("expected %s in %s, found %s%s", oneOf(of), v.what, found(v.node), meant(s, of))
	return ""
}

// number is a whole number from least to most.
func (v *value) number(least, most int64) int64 {
	if v == nil {
		return 0
	}
	if n, ok := v.node.(*ast.IntegerNode); ok {
		switch i := n.Value.(type) {
		case int64:
			if i >= least && i <= most {
				return i
			}
		case uint64:
			if i <= math.MaxInt64 && int64(i) >= least && int64(i) <= most {
				return int64(i)
			}
		}
	}
	if most == math.MaxInt64 {
		v.expected("a whole number of at least %d", least)
	} else {
		v.expected("a whole number from %d to %d", least, most)
	}
	return 0
}

func (v *value) count(least int64) int { return int(v.number(least, math.MaxInt32)) }

// real is a number, perhaps with a fraction.
func (v *value) real() (float64, bool) {
	if v == nil {
		return 0, false
	}
	switch n := v.node.(type) {
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case int64:
			return float64(i), true
		case uint64:
			return float64(i), true
		}
	case *ast.FloatNode:
		return n.Value, true
	}
	v.expected("a number")
	return 0, false
}

// flag is true or false.
func (v *value) flag() bool {
	if v == nil {
		return false
	}
	n, ok := v.node.(*ast.BoolNode)
	if !ok {
		v.expected("true or false")
		return false
	}
	return n.Value
}

// duration is a stretch of time that is longer than 0.
func (v *value) duration() time.Duration {
	if v == nil {
		return 0
	}
	s, ok := scalar(v.node)
	d, err := time.ParseDuration(s)
	if !ok || err != nil || d <= 0 {
		v.expected("a duration such as 30s or 2m")
		return 0
	}
	return d
}

// bytes is a size such as 300MB or 2GiB, or a number of bytes.
func (v *value) bytes() int64 {
	if v == nil {
		return 0
	}
	units := []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"", 1}}
	s, _ := scalar(v.node)
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		var n int64
		if _, err := fmt.Sscanf(strings.TrimSpace(number)+"$", "%d$", &n); err == nil && n > 0 && n <= math.MaxInt64/u.size {
			return n * u.size
		}
		break
	}
	v.expected("a size such as 300MB")
	return 0
}

// plain is any value as JSON knows it.
func (v *value) plain() any {
	if v == nil {
		return nil
	}
	switch n := v.node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		if !math.IsInf(n.Value, 0) && !math.IsNaN(n.Value) {
			return n.Value
		}
	case *ast.StringNode, *ast.LiteralNode:
		s, _ := scalar(n)
		return s
	case *ast.SequenceNode:
		all := []any{}
		for _, item := range v.list() {
			all = append(all, item.plain())
		}
		return all
	case *ast.MappingNode, *ast.MappingValueNode:
		all := map[string]any{}
		for _, p := range v.pairs() {
			all[p.name] = p.plain()
		}
		return all
	}
	v.expected("a value that JSON has")
	return nil
}
