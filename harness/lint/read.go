package lint

import (
	"errors"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/wasilibs/go-pgquery/parser"
)

// Script is a SQL file. That of goose has an Up and a Down; of any other all is Up.
type Script struct {
	Goose    bool
	Up, Down Section
}

// Section is one way of a migration.
type Section struct {
	There      bool // the file has it
	Line       int  // where it begins
	Statements []Statement
}

// Statement is one of PostgreSQL's, as its own parser reads it.
type Statement struct {
	Line        int
	Kind        string       // the node of the parse tree: AlterTableStmt ...
	Node        gjson.Result // its fields
	Transaction bool         // it stands in one that goose, or the script, has begun
}

// annotation is a line by which goose tells the ways of a migration apart
// (https://pressly.github.io/goose/documentation/annotations/).
var annotation = regexp.MustCompile(`(?i)^\s*--\s*\+goose\s+(.*?)\s*$`)

// Read takes a SQL file apart. The finding says what cannot be read.
func Read(path, text string) (Script, *Finding) {
	var s Script
	lines := strings.Split(text, "\n")
	in := map[*Section][]string{}
	now := &s.Up
	transaction := true
	for n, line := range lines {
		m := annotation.FindStringSubmatch(line)
		switch what := strings.ToLower(strings.Join(strings.Fields(strings.Join(m, " ")), " ")); {
		case m == nil:
		case strings.HasSuffix(what, " up"):
			s.Goose, s.Up.There, s.Up.Line = true, true, n+1
		case strings.HasSuffix(what, " down"):
			now, s.Down.There, s.Down.Line = &s.Down, true, n+1
		case strings.HasSuffix(what, " no transaction"):
			transaction = false
		}
		// Lines keep their numbers in each section.
		for _, section := range []*Section{&s.Up, &s.Down} {
			if section == now {
				in[section] = append(in[section], line)
			} else {
				in[section] = append(in[section], "")
			}
		}
	}
	if !s.Goose {
		for n, line := range in[&s.Up] {
			in[&s.Up][n] = psql(line)
		}
	}
	if !s.Goose {
		s.Up.There, s.Up.Line, transaction = true, 1, false // a transaction is what the script makes one
	}
	for _, section := range []*Section{&s.Up, &s.Down} {
		var bad *Finding
		if section.Statements, bad = statements(strings.Join(in[section], "\n")); bad != nil {
			bad.File = path
			return s, bad
		}
		within(section.Statements, transaction)
	}
	return s, nil
}

// What psql takes out of a line before PostgreSQL sees it (https://www.postgresql.org/docs/current/app-psql.html).
var (
	psqlSends    = regexp.MustCompile(`\\g[a-z]*\b.*$`)
	psqlCommand  = regexp.MustCompile(`^\s*\\[a-z!?].*$`)
	psqlVariable = regexp.MustCompile(`(^|[^:\w]):(?:'(\w+)'|"(\w+)"|[A-Za-z_]\w*)`)
)

// psql is a line of a script as PostgreSQL gets it: without psql's own commands, with something in place of its variables.
func psql(line string) string {
	line = psqlCommand.ReplaceAllString(line, "")
	line = psqlSends.ReplaceAllString(line, ";")
	return psqlVariable.ReplaceAllStringFunc(line, func(v string) string {
		at := strings.Index(v, ":")
		if rest := v[at+1:]; rest[0] == '\'' || rest[0] == '"' {
			return v[:at] + rest
		}
		return v[:at] + "0"
	})
}

// within notes which statements stand in a transaction.
func within(all []Statement, transaction bool) {
	for i := range all {
		switch {
		case begins(all[i]):
			transaction = true
		case ends(all[i]):
			transaction = false
		}
		all[i].Transaction = transaction
	}
}

func begins(s Statement) bool {
	kind := s.Node.Get("kind").String()
	return s.Kind == "TransactionStmt" && (kind == "TRANS_STMT_BEGIN" || kind == "TRANS_STMT_START")
}

func ends(s Statement) bool {
	kind := s.Node.Get("kind").String()
	return s.Kind == "TransactionStmt" && (kind == "TRANS_STMT_COMMIT" || kind == "TRANS_STMT_ROLLBACK" || kind == "TRANS_STMT_PREPARE")
}

// statements parses SQL. Places are bytes of the text, and a statement's begins behind the one before it.
func statements(text string) ([]Statement, *Finding) {
	tree, err := parser.ParseToJSON(text)
	if err != nil {
		bad := Finding{Line: 1, Rule: unreadable, Found: "PostgreSQL cannot read it: " + err.Error(), Do: "Mend it, or leave what is no SQL to psql's own commands"}
		if at := new(parser.Error); errors.As(err, &at) && at.Cursorpos > 0 {
			bad.Line = lineAt(text, at.Cursorpos-1)
			bad.Found = "PostgreSQL cannot read it: " + at.Message
		}
		return nil, &bad
	}
	var all []Statement
	for _, raw := range gjson.Get(tree, "stmts").Array() {
		raw.Get("stmt").ForEach(func(kind, node gjson.Result) bool {
			begin := min(int(raw.Get("stmt_location").Int()), len(text))
			begin += len(text[begin:]) - len(code(text[begin:]))
			all = append(all, Statement{Line: lineAt(text, begin), Kind: kind.String(), Node: node})
			return false
		})
	}
	return all, nil
}

// code is SQL without the space and the comments that it begins with.
func code(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n\f")
		end, skip := "", 0
		switch {
		case strings.HasPrefix(text, "--"):
			end, skip = "\n", 1
		case strings.HasPrefix(text, "/*"):
			end, skip = "*/", 2
		default:
			return text
		}
		i := strings.Index(text, end)
		if i < 0 {
			return ""
		}
		text = text[i+skip:]
	}
}

func lineAt(text string, at int) int { return 1 + strings.Count(text[:min(at, len(text))], "\n") }

// table is the name of a relation as it is written: orders, public.orders.
func table(relation gjson.Result) string {
	name := relation.Get("relname").String()
	if schema := relation.Get("schemaname").String(); schema != "" {
		name = schema + "." + name
	}
	return name
}

// each calls with all nodes of a kind below one, however deep.
func each(node gjson.Result, kind string, with func(gjson.Result)) {
	if !node.IsObject() && !node.IsArray() {
		return
	}
	node.ForEach(func(key, value gjson.Result) bool {
		if key.String() == kind {
			with(value)
		}
		each(value, kind, with)
		return true
	})
}

// texts are the parts of a name or a list: ["pg_catalog", "now"].
func texts(list gjson.Result) []string {
	var all []string
	for _, item := range list.Array() {
		if s := item.Get("String.sval"); s.Exists() {
			all = append(all, s.String())
		}
	}
	return all
}

// dropped are the tables that DROP TABLE names.
func dropped(s Statement) []string {
	if s.Kind != "DropStmt" || s.Node.Get("removeType").String() != "OBJECT_TABLE" {
		return nil
	}
	var all []string
	for _, o := range s.Node.Get("objects").Array() {
		all = append(all, strings.Join(texts(o.Get("List.items")), "."))
	}
	return all
}

// created is the table that the statement makes; empty: none.
func created(s Statement) string {
	switch s.Kind {
	case "CreateStmt":
		return table(s.Node.Get("relation"))
	case "CreateTableAsStmt":
		return table(s.Node.Get("into.rel"))
	case "SelectStmt":
		return table(s.Node.Get("intoClause.rel"))
	}
	return ""
}

// command is one of ALTER TABLE's.
type command struct {
	Table, Kind, Name string // AT_AddColumn ..., of which column or constraint
	Def               gjson.Result
}

// commands are those of an ALTER TABLE.
func commands(s Statement) []command {
	if s.Kind != "AlterTableStmt" || s.Node.Get("objtype").String() != "OBJECT_TABLE" {
		return nil
	}
	var all []command
	for _, c := range s.Node.Get("cmds.#.AlterTableCmd").Array() {
		one := command{table(s.Node.Get("relation")), c.Get("subtype").String(), c.Get("name").String(), c.Get("def")}
		if one.Name == "" {
			one.Name = c.Get("def.ColumnDef.colname").String()
		}
		all = append(all, one)
	}
	return all
}
