package service

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestHostsInCommands(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{`goose -dir migrations postgres "$PRIMARY" down-to 4`, nil},
		{`psql -d "$PRIMARY" -c "select 1"`, nil},
		{`curl -s http://127.0.0.1:8080/x`, []string{"127.0.0.1"}},
		{`curl https://api.example.com/v1`, []string{"api.example.com"}},
		{`psql postgres://me:geheim@db.prod:5432/web`, []string{"db.prod"}},
		{`psql "host=db.prod dbname=web"`, []string{"db.prod"}},
		{`psql -h db.prod -d web`, []string{"db.prod"}},
		{`pg_dump --host=10.1.2.3 web`, []string{"10.1.2.3"}},
		{`PGHOST=db.prod psql`, []string{"db.prod"}},
		{`nc 127.0.0.1 10.1.2.3`, []string{"127.0.0.1", "10.1.2.3"}},
		{`psql postgres://127.0.0.1,db.prod/x`, []string{"127.0.0.1", "db.prod"}},
		{`psql "host=127.0.0.1,db.prod"`, []string{"127.0.0.1", "db.prod"}},
		{`nc 10.1.2.3 80`, []string{"10.1.2.3"}},
		{`ls -h releases`, nil},
		{`./deploy v1.2.3.4`, nil},
		{`apt-get install x=1.2.3.4-5`, nil},
		{`curl http://[::1]:80/`, []string{"::1"}},
		{`curl "$URL/healthz"`, nil},
		{`psql -h 127.0.0.1 -h db.prod`, []string{"127.0.0.1", "db.prod"}},
		{`ssh -i key deploy@db.prod uptime`, []string{"db.prod"}},
		{`ssh -v -p 22 db.prod`, []string{"db.prod"}},
		{`curl db.prod:8080/x`, []string{"db.prod"}},
		{`DB_HOST=db.prod ./migrate`, []string{"db.prod"}},
		{`PGSERVICE=web psql`, []string{"web"}},
		{`curl HTTP://Db.Prod/`, []string{"Db.Prod"}},
		{`nc 2001:db8::1 80`, []string{"2001:db8::1"}},
		{`date +%H:%M:%S; echo 12:30:00`, nil},
		{`goose: down`, nil},
	} {
		if got := hostsIn(c.line); !slices.Equal(got, c.want) {
			t.Errorf("%s: expected %v, found %v", c.line, c.want, got)
		}
	}
	for text, want := range map[string][]string{
		"psql \\\n -h db.prod":        {"db.prod"},
		"# curl http://db.prod\necho": nil,
	} {
		var got []string
		for _, line := range logical(text, false) {
			got = append(got, hostsIn(line)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: expected %v, found %v", text, want, got)
		}
	}
	if all := logical("-- see https://db.prod/x\nselect 1", true); len(hostsIn(all[0])) > 0 {
		t.Errorf("expected no host in a comment, found %v", all)
	}
	if here("db.prod") || !here("0.0.0.0") || !here("localhost") || !here("::1") {
		t.Error("expected this machine alone to be here")
	}
}

// Whatever a line holds, what is found in it stands in it.
func FuzzHostsIn(f *testing.F) {
	for _, line := range []string{"psql -h db.prod", "curl http://[::1]:80/", "host=a,b", "ssh x", "a:80", "::"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, host := range hostsIn(line) {
			if !strings.Contains(line, host) {
				t.Errorf("%q: found %q, which is not in it", line, host)
			}
		}
	})
}

func TestTheHarnessReachesThisMachineOnly(t *testing.T) {
	for _, address := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "10.0.0.1:5432"} {
		if _, err := DialHere(context.Background(), "tcp", address); err == nil || !strings.Contains(err.Error(), "is not on this machine") {
			t.Errorf("%s: expected a refusal, found %v", address, err)
		}
	}
	if err := Here("tcp", "127.0.0.1:1", nil); err != nil {
		t.Error(err)
	}
}

func TestOfAVariableOnlyHostsAreHosts(t *testing.T) {
	s := &Service{Allow: []string{"db.example"}}
	for _, test := range []struct{ value, unlisted, err string }{
		{"postgres://u:p@127.0.0.1:5432/shop", "", ""},
		{"postgres://u:p@db.example:5432/shop", "", ""},
		{"postgres://u:p@db.production.example/shop", "db.production.example", ""},
		{"postgres://u:pass@word@db.production.example/shop", "db.production.example", ""},
		{"postgres://u:p@127.0.0.1,other.example:5433/shop", "other.example", ""},
		{"postgres:///shop?host=other.example", "other.example", ""},
		{"host=other.example dbname=shop password=secret", "other.example", ""},
		{"http://[2001:db8::1]:80/", "2001:db8::1", ""},
		{"postgres://u:p%@db.example/shop", "", "it cannot be read as a URL"},
		{"/srv/shop", "", ""},
	} {
		hosts, err := s.Unlisted(test.value)
		if strings.Join(hosts, " ") != test.unlisted || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: expected %q %q, found %q %v", test.value, test.unlisted, test.err, hosts, err)
		}
	}
}
