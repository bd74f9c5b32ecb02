package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// locking is a form of statement that keeps others away from a table for as long as it works through the rows. What locks
// what is told in https://www.postgresql.org/docs/current/sql-altertable.html and explicit-locking.html.
type locking struct {
	rule, why string
	does      string                   // to the table, after its name
	do        string                   // in its place
	tables    func(Statement) []string // that the statement does it to
}

var lockings = []locking{
	{"add-column-rewrites", "A default that differs from row to row, an identity and a stored expression write every row anew under ACCESS EXCLUSIVE.",
		"is written anew by ADD COLUMN, with nobody let in", "Add the column without it, set the default afterwards, and fill old rows in batches",
		alters(func(c command) bool { return c.Kind == "AT_AddColumn" && rewrites(c.Def) })},
	{"add-column-scans", "A constraint beside a new column is checked against every row under ACCESS EXCLUSIVE.",
		"is read whole by ADD COLUMN with a constraint, with nobody let in", "Add the column alone, then the constraint NOT VALID, and validate it in a migration of its own",
		alters(func(c command) bool {
			return c.Kind == "AT_AddColumn" && has(c.Def, "CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_PRIMARY")
		})},
	{"add-column-fails", "A column that may not be null and has no default cannot be added to a table with rows.",
		"has rows, and ADD COLUMN ... NOT NULL without a default fails", "Give it a default, or add it without NOT NULL",
		alters(func(c command) bool {
			return c.Kind == "AT_AddColumn" && has(c.Def, "CONSTR_NOTNULL") && !has(c.Def, "CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED") && !rewrites(c.Def)
		})},
	{"alter-type-rewrites", "Another type writes every row anew under ACCESS EXCLUSIVE; few changes, such as a longer varchar, do not.",
		"is written anew by ALTER COLUMN TYPE, with nobody let in", "Add a column of the new type, fill it in batches, and switch over",
		alters(func(c command) bool { return c.Kind == "AT_AlterColumnType" })},
	{"set-not-null-scans", "SET NOT NULL reads every row under ACCESS EXCLUSIVE, unless a validated CHECK says so already.",
		"is read whole by SET NOT NULL, with nobody let in", "Add CHECK (... IS NOT NULL) NOT VALID, validate it, then SET NOT NULL",
		alters(func(c command) bool { return c.Kind == "AT_SetNotNull" })},
	{"constraint-scans", "A new constraint reads every row, or builds an index, while nobody may write.",
		"is read whole by ADD CONSTRAINT, with no writer let in", "Add it NOT VALID and validate it in a migration of its own; build a unique index concurrently and add it USING INDEX",
		alters(func(c command) bool {
			k := c.Def.Get("Constraint")
			switch k.Get("contype").String() {
			case "CONSTR_CHECK", "CONSTR_FOREIGN":
				return c.Kind == "AT_AddConstraint" && !k.Get("skip_validation").Bool()
			case "CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_EXCLUSION":
				return c.Kind == "AT_AddConstraint" && k.Get("indexname").String() == ""
			}
			return false
		})},
	{"table-moves", "Another tablespace, access method or logging writes the whole table anew under ACCESS EXCLUSIVE.",
		"is written anew by ALTER TABLE, with nobody let in", "Do it while nobody needs the table",
		alters(func(c command) bool {
			return slices.Contains([]string{"AT_SetTableSpace", "AT_SetLogged", "AT_SetUnLogged", "AT_SetAccessMethod"}, c.Kind)
		})},
	{"create-index-blocks", "CREATE INDEX lets no writer in until it has read the table.",
		"lets nobody write while CREATE INDEX reads it", "CREATE INDEX CONCURRENTLY, in a migration with NO TRANSACTION",
		func(s Statement) []string { return relationIf(s, "IndexStmt", !s.Node.Get("concurrent").Bool()) }},
	{"reindex-blocks", "REINDEX lets no writer in until it is done.",
		"lets nobody write while REINDEX reads it", "REINDEX ... CONCURRENTLY",
		func(s Statement) []string {
			return relationIf(s, "ReindexStmt", s.Node.Get("kind").String() == "REINDEX_OBJECT_TABLE" && !strings.Contains(s.Node.Get("params").Raw, `"concurrently"`))
		}},
	{"vacuum-full", "VACUUM FULL and CLUSTER write the table anew under ACCESS EXCLUSIVE.",
		"is written anew, with nobody let in", "Let autovacuum do its work, or use pg_repack",
		func(s Statement) []string {
			if s.Kind == "VacuumStmt" && slices.ContainsFunc(s.Node.Get("options.#.DefElem.defname").Array(), func(n gjson.Result) bool { return n.String() == "full" }) {
				var all []string
				for _, r := range s.Node.Get("rels.#.VacuumRelation.relation").Array() {
					all = append(all, table(r))
				}
				if len(all) == 0 {
					all = []string{"every table"}
				}
				return all
			}
			return relationIf(s, "ClusterStmt", true)
		}},
	{"lock-table", "A lock that keeps writers away is held until the transaction ends, whatever comes after it.",
		"is closed to writers until the transaction ends", "Keep the transaction short, and say why it is needed",
		func(s Statement) []string {
			if s.Kind != "LockStmt" || s.Node.Get("mode").Int() < shareLock {
				return nil
			}
			var all []string
			for _, r := range s.Node.Get("relations.#.RangeVar").Array() {
				all = append(all, table(r))
			}
			return all
		}},
	{"changes-every-row", "An UPDATE or DELETE of all rows holds their locks until the end and doubles the table.",
		"is changed row by row in one transaction", "Do it in batches, each a transaction of its own",
		func(s Statement) []string {
			return relationIf(s, s.Kind, (s.Kind == "UpdateStmt" || s.Kind == "DeleteStmt") && !s.Node.Get("whereClause").Exists())
		}},
}

// shareLock is the weakest of the modes that keep writers away (src/include/storage/lockdefs.h).
const shareLock = 5

// lockRules are a rule for each form, and those about how long a statement may wait.
var lockRules = func() []Rule {
	var all []Rule
	for _, l := range lockings {
		all = append(all, Rule{Name: l.rule, Why: l.why, SQL: l.find})
	}
	return append(all,
		Rule{Name: "no-lock-timeout", Why: "Whoever waits for a lock makes everybody else wait behind it.", SQL: noLockTimeout},
		Rule{Name: "set-local-without-transaction", Why: "SET LOCAL has no effect outside a transaction.", SQL: setLocal},
		Rule{Name: "refused-in-transaction", Why: "PostgreSQL refuses CONCURRENTLY and VACUUM within a transaction.", SQL: refused})
}()

func (l locking) find(s Script, sizes Sizes) []Finding {
	var all []Finding
	for _, in := range []Section{s.Up, s.Down} {
		for i, statement := range in.Statements {
			for _, t := range l.tables(statement) {
				before := Section{Statements: in.Statements[:i]}
				if isCreated(before, t) || l.rule == "set-not-null-scans" && validated(before, t) {
					continue
				}
				if large := sizes.large(t); large != "" {
					all = append(all, Finding{Line: statement.Line, Found: large + ", " + l.does, Do: l.do})
				}
			}
		}
	}
	return all
}

// alters are the tables of which a command of ALTER TABLE is of some form, each once.
func alters(is func(command) bool) func(Statement) []string {
	return func(s Statement) []string {
		for _, c := range commands(s) {
			if is(c) {
				return []string{c.Table}
			}
		}
		return nil
	}
}

func relationIf(s Statement, kind string, is bool) []string {
	if s.Kind != kind || !is || !s.Node.Get("relation").Exists() {
		return nil
	}
	return []string{table(s.Node.Get("relation"))}
}

// has says whether a column is defined with one of the kinds of constraint.
func has(def gjson.Result, kinds ...string) bool {
	for _, k := range def.Get("ColumnDef.constraints.#.Constraint.contype").Array() {
		if slices.Contains(kinds, k.String()) {
			return true
		}
	}
	return false
}

// steady are the functions that give all rows of one statement the same value, so that a default of them is kept once.
var steady = []string{"now", "transaction_timestamp", "statement_timestamp", "to_timestamp", "to_date", "lower", "upper", "md5", "coalesce",
	"concat", "jsonb_build_object", "jsonb_build_array", "to_jsonb", "make_interval", "make_date", "current_setting", "txid_current"}

// rewrites says whether a new column writes every row: a default of a function that is not known to be steady, a serial, an
// identity, a stored expression.
func rewrites(def gjson.Result) bool {
	if has(def, "CONSTR_IDENTITY", "CONSTR_GENERATED") {
		return true
	}
	if names := texts(def.Get("ColumnDef.typeName.names")); len(names) > 0 && strings.HasSuffix(strings.TrimRight(names[len(names)-1], "0123456789"), "serial") {
		return true
	}
	for _, c := range def.Get("ColumnDef.constraints.#.Constraint").Array() {
		if c.Get("contype").String() != "CONSTR_DEFAULT" {
			continue
		}
		volatile := false
		each(c, "FuncCall", func(f gjson.Result) {
			names := texts(f.Get("funcname"))
			volatile = volatile || len(names) == 0 || !slices.Contains(steady, names[len(names)-1])
		})
		if volatile {
			return true
		}
	}
	return false
}

// validated says whether a CHECK of the table has been validated before, which SET NOT NULL can use.
func validated(before Section, name string) bool {
	return slices.ContainsFunc(before.Statements, func(s Statement) bool {
		return slices.ContainsFunc(commands(s), func(c command) bool { return c.Kind == "AT_ValidateConstraint" && c.Table == name })
	})
}

// waits says for what a statement waits while others wait behind it; empty: for nothing, or behind nobody.
func waits(s Statement) string {
	switch s.Kind {
	case "AlterTableStmt", "RenameStmt", "CreateTrigStmt", "ClusterStmt":
		return table(s.Node.Get("relation"))
	case "IndexStmt":
		if !s.Node.Get("concurrent").Bool() {
			return table(s.Node.Get("relation"))
		}
	case "TruncateStmt":
		return table(s.Node.Get("relations.0.RangeVar"))
	case "LockStmt":
		if !s.Node.Get("nowait").Bool() {
			return table(s.Node.Get("relations.0.RangeVar"))
		}
	case "DropStmt":
		what := s.Node.Get("removeType").String()
		if s.Node.Get("concurrent").Bool() || !slices.Contains([]string{"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_INDEX", "OBJECT_TRIGGER", "OBJECT_MATVIEW"}, what) {
			return ""
		}
		o := s.Node.Get("objects.0.List.items")
		names := texts(o)
		if what == "OBJECT_TRIGGER" && len(names) > 1 {
			names = names[:len(names)-1] // the table's, then the trigger's
		}
		return strings.Join(names, ".")
	}
	return ""
}

// noLockTimeout looks for the first statement of a section that waits for a lock without end.
func noLockTimeout(s Script, _ Sizes) []Finding {
	var all []Finding
	for _, in := range []Section{s.Up, s.Down} {
		session, transaction := false, false // for how long a lock_timeout is set
		for i, statement := range in.Statements {
			if set, local := setsLockTimeout(statement); set {
				session, transaction = session || !local, transaction || local && statement.Transaction
			}
			if ends(statement) {
				transaction = false
			}
			what := waits(statement)
			if what == "" || session || transaction || isCreated(Section{Statements: in.Statements[:i]}, what) {
				continue
			}
			all = append(all, Finding{Line: statement.Line, Found: fmt.Sprintf("it waits for %s as long as it takes, and everybody else waits behind it", what),
				Do: "Begin with: set local lock_timeout = '3s', or without local where there is no transaction"})
			break
		}
	}
	return all
}

// setsLockTimeout says whether a statement limits how long locks are waited for, and whether only until the transaction ends.
func setsLockTimeout(s Statement) (set, local bool) {
	if s.Kind == "SelectStmt" {
		return strings.Contains(s.Node.Raw, `"set_config"`) && strings.Contains(s.Node.Raw, `"lock_timeout"`), false
	}
	return s.Kind == "VariableSetStmt" && s.Node.Get("name").String() == "lock_timeout" && s.Node.Get("kind").String() == "VAR_SET_VALUE",
		s.Node.Get("is_local").Bool()
}

func setLocal(s Script, _ Sizes) []Finding {
	var all []Finding
	for _, in := range []Section{s.Up, s.Down} {
		for _, statement := range in.Statements {
			if !statement.Transaction && statement.Kind == "VariableSetStmt" && statement.Node.Get("is_local").Bool() {
				all = append(all, Finding{Line: statement.Line, Found: "SET LOCAL stands outside a transaction, where it has no effect", Do: "Write SET"})
			}
		}
	}
	return all
}

func refused(s Script, _ Sizes) []Finding {
	var all []Finding
	for _, in := range []Section{s.Up, s.Down} {
		for _, statement := range in.Statements {
			what := ""
			switch statement.Kind {
			case "IndexStmt", "DropStmt":
				if statement.Node.Get("concurrent").Bool() {
					what = "CONCURRENTLY"
				}
			case "VacuumStmt":
				if statement.Node.Get("is_vacuumcmd").Bool() { // the node of ANALYZE too, which may
					what = "VACUUM"
				}
			}
			if what != "" && statement.Transaction {
				all = append(all, Finding{Line: statement.Line, Found: what + " stands in a transaction, where PostgreSQL refuses it", Do: "Begin the file with: -- +goose NO TRANSACTION"})
			}
		}
	}
	return all
}
