// Package wiring says what the placeholders of service.yaml stand for in one stage, and what follows from a drill's need
// for every environment: who runs, on which release, with which databases and caches.
package wiring

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/postgres"
	"backout/harness/service"
)

// placeholder of service.yaml: {word} or {word:service}.
var placeholder = regexp.MustCompile(`\{([a-z_]+)(?::([A-Za-z0-9_-]+))?\}`)

// Wiring is what the placeholders of service.yaml stand for in one stage: the drill's, or a clone's.
type Wiring struct {
	Need     environment.Need
	Password string
	Kind     string            // of environment, which says how a service runs
	Host     string            // on which instances find all of it
	Hosts    map[string]string // or, by node and "cache", where that is
	Ports    map[string]int    // node -> port; a replica that there is not is the primary
	Cache    int               // port of the server of all caches; 0: there is none
	URLs     map[string]string // service, or SERVICE/STUB -> its way in
	Data     string            // holds a folder for each service
}

// DataDir is where the instances of a service keep what is in no database. All of them share it.
func (w Wiring) DataDir(s *service.Service) (string, error) {
	dir := filepath.Join(w.Data, s.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o777) // instances may run as another user
}

// DatabaseURL is a service's database on a node for a role.
func (w Wiring) DatabaseURL(name, node, role string) string {
	if _, is := w.Ports[node]; !is {
		node = "primary"
	}
	return postgres.URL(w.host(node), w.Ports[node], role, w.Password, name)
}

func (w Wiring) host(of string) string { return cmp.Or(w.Hosts[of], w.Host) }

// nodeOf is the node that a placeholder means.
func nodeOf(word string) (string, bool) {
	switch word {
	case "database_url":
		return "primary", true
	case "database_url_streaming":
		return "streaming", true
	case "database_url_logical":
		return "logical", true
	}
	return "", false
}

// fill replaces the placeholders of a text of service s.
func (w Wiring) fill(text string, s *service.Service, own map[string]string) (string, error) {
	var wrong error
	out := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		parts := placeholder.FindStringSubmatch(found)
		word, of := parts[1], parts[2]
		if v, is := own[word]; is && of == "" {
			return v
		}
		name := of
		if name == "" {
			name = s.Name
		}
		if node, is := nodeOf(word); is {
			if d := w.service(name); d != nil && d.Database != nil {
				return w.DatabaseURL(name, node, s.Name)
			}
			wrong = fmt.Errorf("%s: no database of %q is in this drill", found, name)
			return ""
		}
		if word == "cache_url" {
			name, err := cacheOf(s, of)
			if err != nil {
				wrong = fmt.Errorf("%s: %w", found, err)
				return ""
			}
			return w.CacheURL(s, name)
		}
		if word == "url" && of != "" {
			for _, at := range []string{s.Name + "/" + of, of} {
				if url, is := w.URLs[at]; is {
					return url
				}
			}
			wrong = fmt.Errorf("%s: no service or stub %q is in this drill; there are %s", found, of, strings.Join(slices.Sorted(maps.Keys(w.URLs)), ", "))
			return ""
		}
		wrong = fmt.Errorf("%s is no placeholder; there are {address}, {release}, {instance}, {data}, {database_url}, {database_url_streaming}, {database_url_logical}, each of the latter also with :SERVICE, {url:SERVICE}, {cache_url} and {cache_url:CACHE}", found)
		return ""
	})
	return out, wrong
}

// cacheOf is the cache of a service that a placeholder means: the only one where it names none.
func cacheOf(s *service.Service, name string) (string, error) {
	names := slices.Sorted(maps.Keys(s.Caches))
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case slices.Contains(names, name):
		return name, nil
	case len(names) == 0:
		return "", fmt.Errorf("%s states no caches", s.Path)
	}
	return "", fmt.Errorf("expected one of the caches of %s, as {cache_url:%s}; there are %s", s.Name, names[0], strings.Join(names, ", "))
}

func (w Wiring) service(name string) *service.Service {
	for _, s := range Services(w.Need) {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Environ is what service.yaml says that an instance finds in its environment, secrets included.
func (w Wiring) Environ(s *service.Service, own, secrets map[string]string) (map[string]string, error) {
	all := map[string]string{}
	for _, part := range []map[string]string{s.Env, s.EnvIn(w.Kind)} {
		for _, name := range slices.Sorted(maps.Keys(part)) {
			text, err := w.fill(part[name], s, own)
			if err != nil {
				return nil, fmt.Errorf("%s: env %s: %w", s.Path, name, err)
			}
			all[name] = text
		}
	}
	maps.Copy(all, secrets)
	return all, nil
}

// Readers are the services that are given the URL of another's database.
func Readers(need environment.Need, of string) []string {
	var found []string
	for _, s := range Services(need) {
		if s.Name == of {
			continue
		}
		for _, part := range []map[string]string{s.Env, s.EnvIn(service.InProcesses), s.EnvIn(service.InContainers), s.EnvIn(service.InKubernetes)} {
			for _, text := range part {
				for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
					if _, is := nodeOf(m[1]); is && m[2] == of && !slices.Contains(found, s.Name) {
						found = append(found, s.Name)
					}
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// Services are all that a drill runs, the drilled one first.
func Services(need environment.Need) []*service.Service {
	return append([]*service.Service{need.Service}, need.Dependants...)
}

// ThatRun are those of them that an environment of this kind runs: not a schema alone.
func ThatRun(need environment.Need, kind string) []*service.Service {
	return slices.DeleteFunc(Services(need), func(s *service.Service) bool { return !s.Runs(kind) })
}

// Release is the good release of a service; nil when the need names none.
func Release(need environment.Need, s *service.Service) *service.Release {
	if s == need.Service {
		return need.Good
	}
	return need.Releases[s.Name]
}

// Caches are all caches of a drill in an order, which gives each the number of its database on the one server.
func Caches(need environment.Need) []string {
	var all []string
	for _, s := range Services(need) {
		for name := range s.Caches {
			all = append(all, s.Name+"/"+name)
		}
	}
	slices.Sort(all)
	return all
}

// CacheURL is one cache of a service.
func (w Wiring) CacheURL(s *service.Service, name string) string {
	return cache.URL(w.host("cache"), w.Cache, w.Password, slices.Index(Caches(w.Need), s.Name+"/"+name))
}

// CacheURLs are those of the drilled service's caches, by name; none before it is known where they are.
func (w Wiring) CacheURLs() map[string]string {
	all := map[string]string{}
	if of := w.Need.Service; of != nil && w.Cache != 0 {
		for name := range of.Caches {
			all[name] = w.CacheURL(of, name)
		}
	}
	return all
}

// Variables are what a plan's env may name, for the drilled service and the nodes that there are.
func (w Wiring) Variables(nodes []string) map[string]string {
	vars := map[string]string{}
	of := w.Need.Service
	if of == nil || w.Ports == nil {
		return vars
	}
	for _, name := range of.Dependants {
		if url := w.URLs[name]; url != "" {
			vars["URL_"+strings.ToUpper(name)] = url
		}
	}
	for name, url := range w.CacheURLs() {
		vars[of.Caches[name].URL] = url
	}
	if of.Database == nil {
		return vars
	}
	for _, node := range nodes {
		key := "DATABASE_URL"
		if node != "primary" {
			key += "_" + strings.ToUpper(node)
		}
		vars[key] = w.DatabaseURL(of.Name, node, Migrator(of.Name))
		vars["ADMIN_"+key] = w.DatabaseURL(of.Name, node, postgres.Superuser)
	}
	return vars
}

// Roles of the nodes that this drill has; none when no service has a database.
func Roles(need environment.Need) []string {
	var roles []string
	for _, s := range Services(need) {
		if s.Database != nil {
			roles = []string{"primary"}
		}
	}
	if need.Streaming {
		roles = append(roles, "streaming")
	}
	if need.Logical {
		roles = append(roles, "logical")
	}
	return roles
}

// Migrator is the role that owns a service's database, and migrates it.
func Migrator(role string) string { return role + "_migrator" }

// ServiceOf tells whose release it is: its folder is SERVICE/releases/NAME.
func ServiceOf(need environment.Need, r *service.Release) (*service.Service, error) {
	for _, s := range Services(need) {
		if r == Release(need, s) {
			return s, nil
		}
	}
	home := filepath.Dir(filepath.Dir(r.Dir))
	for _, s := range Services(need) {
		if r.Dir != "" && filepath.Clean(s.Dir) == home {
			return s, nil
		}
	}
	if r.Dir == "" {
		return need.Service, nil
	}
	return nil, fmt.Errorf("its folder %s is in none of this drill's services", r.Dir)
}

// Check says what of a need no environment could provide.
func Check(need environment.Need) error {
	if need.Service.Database == nil && (need.Streaming || need.Logical) {
		return fmt.Errorf("%s has no database: there is nothing to replicate", need.Service.Path)
	}
	if need.Logical && need.Service.Database.Migrations == "" {
		return fmt.Errorf("%s has no migrations: nothing says which schema a logical replica has", need.Service.Path)
	}
	if need.Logical && len(need.Service.Database.Publish) == 0 {
		return fmt.Errorf("%s publishes no table (database.publish): there is nothing for a logical replica", need.Service.Path)
	}
	return nil
}
