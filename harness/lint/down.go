package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

var downRules = []Rule{
	{Name: "no-down", Why: "A Down that does nothing succeeds, and takes the migration out of the record all the same.", SQL: noDown},
	{Name: "down-incomplete", Why: "What a Down leaves behind meets the old release, and the next try of the new one.", SQL: incomplete},
	{Name: "down-loses-data", Why: "What users wrote since the release is dropped with the column or table.", SQL: downLoses},
	{Name: "up-loses-data", Why: "What the Up drops no Down brings back.", SQL: upLoses},
	{Name: "down-brings-back-empty", Why: "A column that is back without its data is not as before.", SQL: backEmpty},
}

// changes says whether a statement does anything to the database; SET and a SELECT of constants do not.
func changes(s Statement) bool {
	switch s.Kind {
	case "VariableSetStmt", "VariableShowStmt", "TransactionStmt", "ExplainStmt":
		return false
	case "SelectStmt": // select setval(...) does
		does := s.Node.Get("intoClause").Exists()
		each(s.Node, "FuncCall", func(gjson.Result) { does = true })
		return does
	}
	return true
}

func noDown(s Script, _ Sizes) []Finding {
	if !s.Goose || !slices.ContainsFunc(s.Up.Statements, changes) || slices.ContainsFunc(s.Down.Statements, changes) {
		return nil
	}
	f := Finding{Line: s.Down.Line, Found: "the Down changes nothing", Do: "Write what undoes the Up, or raise an exception that says why nothing can"}
	switch {
	case !s.Down.There:
		f.Line, f.Found = s.Up.Line, "there is no Down"
	case len(s.Down.Statements) > 0:
		f.Line = s.Down.Statements[0].Line
	}
	return []Finding{f}
}

// incomplete looks for tables and columns that one way brings or renames and the other does not undo.
func incomplete(s Script, _ Sizes) []Finding {
	if !slices.ContainsFunc(s.Down.Statements, changes) {
		return nil // told as no Down
	}
	drops, adds, renames := map[string]bool{}, map[string]bool{}, map[string]bool{}
	raises := false
	for _, d := range s.Down.Statements {
		raises = raises || d.Kind == "DoStmt" || d.Kind == "SelectStmt" // what a program does cannot be seen
		for _, t := range dropped(d) {
			drops[t] = true
		}
		if t := created(d); t != "" {
			adds[t] = true
		}
		for _, c := range commands(d) {
			drops[c.Table+"."+c.Name] = drops[c.Table+"."+c.Name] || c.Kind == "AT_DropColumn"
			adds[c.Table+"."+c.Name] = adds[c.Table+"."+c.Name] || c.Kind == "AT_AddColumn"
		}
		if d.Kind == "RenameStmt" {
			renames[d.Node.Get("newname").String()] = true
		}
	}
	if raises && len(drops)+len(adds)+len(renames) == 0 {
		return nil
	}
	gone := func(t string) bool { return drops[t] }
	var all []Finding
	add := func(line int, found string) {
		all = append(all, Finding{Line: line, Found: found, Do: "Undo it in the Down, or say why it may stay"})
	}
	for _, u := range s.Up.Statements {
		if t := created(u); t != "" && !gone(t) && !isDropped(s.Up, t) && u.Node.Get("relation.relpersistence").String() != "t" {
			add(u.Line, fmt.Sprintf("the Up makes the table %s, and the Down does not drop it", t))
		}
		for _, t := range dropped(u) {
			if !adds[t] && !isCreated(s.Up, t) {
				add(u.Line, fmt.Sprintf("the Up drops the table %s, and the Down does not bring it back", t))
			}
		}
		for _, c := range commands(u) {
			name := c.Table + "." + c.Name
			if c.Kind == "AT_AddColumn" && !gone(name) && !gone(c.Table) {
				add(u.Line, fmt.Sprintf("the Up adds the column %s, and the Down does not drop it", name))
			}
			if c.Kind == "AT_DropColumn" && !adds[name] && !isCreated(s.Up, c.Table) {
				add(u.Line, fmt.Sprintf("the Up drops the column %s, and the Down does not bring it back", name))
			}
		}
		if u.Kind == "RenameStmt" {
			was := u.Node.Get("subname").String()
			t := table(u.Node.Get("relation"))
			if was == "" {
				was, t = t, ""
			}
			if !renames[was] && !adds[t+"."+was] && !adds[was] && !gone(u.Node.Get("newname").String()) {
				add(u.Line, fmt.Sprintf("the Up renames %s to %s, and the Down does not rename it back", was, u.Node.Get("newname")))
			}
		}
	}
	return all
}

func isCreated(in Section, name string) bool {
	return slices.ContainsFunc(in.Statements, func(s Statement) bool { return created(s) == name })
}

func isDropped(in Section, name string) bool {
	return slices.ContainsFunc(in.Statements, func(s Statement) bool { return slices.Contains(dropped(s), name) })
}

// downLoses looks for what the Down drops without having kept it somewhere before.
func downLoses(s Script, _ Sizes) []Finding {
	if !s.Goose {
		return nil
	}
	return losses(s.Down, func(table, column string) string {
		if filled(s.Up, table, column) {
			return ", which the Up filled"
		}
		return ", which may have been written since"
	}, "Keep it in another table or column before, or say why nobody misses it")
}

// upLoses looks for what the Up drops, so that the Down has nothing to bring back.
func upLoses(s Script, _ Sizes) []Finding {
	if !s.Goose {
		return nil
	}
	return losses(s.Up, func(string, string) string { return ", and keeps it nowhere" },
		"Copy it to a table beside first, or drop it in a later release than the one that stops using it")
}

// losses are the tables and columns that a section drops, or empties, that it has not made itself and not read into something else before.
func losses(in Section, which func(table, column string) string, do string) []Finding {
	var all []Finding
	for i, s := range in.Statements {
		before := in.Statements[:i]
		here := func(t string) bool { return isCreated(Section{Statements: before}, t) }
		for _, t := range dropped(s) {
			if !here(t) && !kept(before, t, "") {
				all = append(all, Finding{Line: s.Line, Found: "the table " + t + " is dropped" + which(t, ""), Do: do})
			}
		}
		for _, c := range commands(s) {
			if c.Kind == "AT_DropColumn" && !here(c.Table) && !kept(before, c.Table, c.Name) {
				all = append(all, Finding{Line: s.Line, Found: fmt.Sprintf("the column %s.%s is dropped%s", c.Table, c.Name, which(c.Table, c.Name)), Do: do})
			}
		}
		if s.Kind == "TruncateStmt" {
			for _, r := range s.Node.Get("relations.#.RangeVar").Array() {
				if t := table(r); !here(t) && !kept(before, t, "") {
					all = append(all, Finding{Line: s.Line, Found: "the table " + t + " is emptied" + which(t, ""), Do: do})
				}
			}
		}
	}
	return all
}

// kept says whether what a table or a column of it holds was read into something else before.
func kept(before []Statement, name, column string) bool {
	for _, s := range before {
		var values []gjson.Result // what is written
		switch s.Kind {
		case "InsertStmt":
			values = append(values, s.Node.Get("selectStmt"))
		case "UpdateStmt":
			values = append(values, s.Node.Get("targetList"))
		case "CreateTableAsStmt":
			values = append(values, s.Node.Get("query"))
		case "SelectStmt":
			if s.Node.Get("intoClause").Exists() {
				values = append(values, s.Node)
			}
		}
		if len(values) == 0 || !reads(s, name, column != "") {
			continue
		}
		if column == "" {
			return true
		}
		for _, v := range values {
			targets := v
			if list := v.Get("SelectStmt.targetList"); list.Exists() {
				targets = list
			} else if list := v.Get("targetList"); list.Exists() {
				targets = list
			}
			found := false
			each(targets, "ColumnRef", func(ref gjson.Result) {
				fields := ref.Get("fields").Array()
				last := fields[len(fields)-1]
				found = found || last.Get("String.sval").String() == column || last.Get("A_Star").Exists()
			})
			if found {
				return true
			}
		}
	}
	return false
}

// reads says whether a statement reads a table; written counts too where a column of the very table moves to another one.
func reads(s Statement, name string, written bool) bool {
	found := written && s.Kind == "UpdateStmt" && table(s.Node.Get("relation")) == name
	for _, part := range []string{"selectStmt", "fromClause", "query", "targetList", "whereClause", "withClause"} {
		each(s.Node.Get(part), "RangeVar", func(r gjson.Result) { found = found || table(r) == name })
	}
	return found
}

// filled says whether a section writes into a table, or into a column of it.
func filled(in Section, name, column string) bool {
	for _, s := range in.Statements {
		switch {
		case s.Kind == "InsertStmt" && table(s.Node.Get("relation")) == name,
			s.Kind == "CreateTableAsStmt" && created(s) == name && column == "":
			return true
		case s.Kind == "UpdateStmt" && table(s.Node.Get("relation")) == name:
			if column == "" || slices.ContainsFunc(s.Node.Get("targetList.#.ResTarget.name").Array(), func(n gjson.Result) bool { return n.String() == column }) {
				return true
			}
		}
		for _, c := range commands(s) {
			if c.Kind == "AT_AddColumn" && c.Table == name && c.Name == column && strings.Contains(c.Def.Raw, "CONSTR_DEFAULT") {
				return true
			}
		}
	}
	return false
}

// backEmpty looks for what the Up drops and the Down makes anew without filling it.
func backEmpty(s Script, _ Sizes) []Finding {
	drops := map[string]bool{}
	for _, u := range s.Up.Statements {
		for _, t := range dropped(u) {
			drops[t] = true
		}
		for _, c := range commands(u) {
			drops[c.Table+"."+c.Name] = drops[c.Table+"."+c.Name] || c.Kind == "AT_DropColumn"
		}
	}
	var all []Finding
	add := func(line int, what string) {
		all = append(all, Finding{Line: line, Found: what + " comes back empty", Do: "Fill it from what the Up has kept"})
	}
	for i, d := range s.Down.Statements {
		after := Section{Statements: s.Down.Statements[i:]}
		if t := created(d); d.Kind == "CreateStmt" && drops[t] && !filled(after, t, "") {
			add(d.Line, "the table "+t)
		}
		for _, c := range commands(d) {
			if c.Kind == "AT_AddColumn" && drops[c.Table+"."+c.Name] && !filled(after, c.Table, c.Name) {
				add(d.Line, "the column "+c.Table+"."+c.Name)
			}
		}
	}
	return all
}
