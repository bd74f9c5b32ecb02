package history

import (
	"strings"
	"testing"
)

const deployed = `{"context": {"version": "0.4.1", "id": "271069a8-fc18-44f1-b38f-9d70a1695819", "source": "/cd/prod", "type": "dev.cdevents.service.deployed.0.1.4", "timestamp": "2026-11-20T14:27:05.315384Z"},
 "subject": {"id": "cluster1/till", "source": "/cd/prod", "type": "service", "content": {"environment": {"id": "production"}, "artifactId": "pkg:oci/till@sha256%3A0b31"}}}`

func TestCDEvents(t *testing.T) {
	rolledback := strings.NewReplacer("deployed", "rolledback", "271069a8", "371069a8").Replace(deployed)
	upgraded := strings.NewReplacer("deployed", "upgraded", "271069a8", "471069a8").Replace(deployed)
	removed := strings.Replace(deployed, "deployed", "removed", 1)
	cloud := `{"specversion": "1.0", "type": "dev.cdevents.service.deployed.0.1.4", "id": "x", "source": "/cd", "datacontenttype": "application/json", "data": ` + deployed + `}`
	for name, c := range map[string]struct {
		in     string
		kinds  string
		others int
		err    string
	}{
		"one":                     {deployed, "deployment", 0, ""},
		"one after another":       {deployed + "\n" + rolledback + upgraded, "deployment rollback deployment", 0, ""},
		"a list":                  {"[" + deployed + "," + rolledback + "]", "deployment rollback", 0, ""},
		"in a CloudEvent":         {cloud, "deployment", 0, ""},
		"another type":            {removed + deployed, "deployment", 1, ""},
		"nothing":                 {"", "", 0, ""},
		"not JSON":                {"deployed", "", 0, "expected JSON"},
		"cut":                     {deployed[:100], "", 0, "expected JSON"},
		"another document":        {`{"a": 1}`, "", 0, "event 1: expected context.type"},
		"no id":                   {strings.Replace(deployed, "271069a8-fc18-44f1-b38f-9d70a1695819", "", 1), "", 0, "context.id"},
		"no service":              {strings.Replace(deployed, "cluster1/till", "cluster1/", 1), "", 0, "subject.id"},
		"a service out of reason": {strings.Replace(deployed, "cluster1/till", "../../Till X", 1), "", 0, "subject.id"},
	} {
		records, others, err := CDEvents(strings.NewReader(c.in))
		var kinds []string
		for _, r := range records {
			kinds = append(kinds, r.Kind)
			if r.Service != "till" || r.Environment != "production" || r.Release == "" || r.When.Day() != 20 || !strings.HasPrefix(r.ID, "/cd/prod ") {
				t.Errorf("%s: found %+v", name, r)
			}
		}
		if strings.Join(kinds, " ") != c.kinds || others != c.others {
			t.Errorf("%s: expected %q and %d others, found %q and %d", name, c.kinds, c.others, kinds, others)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: expected the error %q, found %v", name, c.err, err)
		}
	}
}

// The same event is kept once, and a damaged record counts as nothing.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	records, _, err := CDEvents(strings.NewReader(deployed))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if added, err := s.AddRecord(t.Context(), records[0]); err != nil || added != want {
			t.Errorf("%d: expected %v, found %v, %v", i, want, added, err)
		}
	}
	if l := loaded(t, s); len(l.Records) != 1 || l.Records[0].Service != "till" {
		t.Errorf("found %+v", l.Records)
	}
}
