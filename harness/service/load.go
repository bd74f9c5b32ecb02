package service

import (
	"errors"

	"backout/harness/evidence"
)

// ErrNoPlan says that a release has no such plan for the environment, which makes the drill not applicable.
var ErrNoPlan = errors.New("there is no plan for this environment")

// Load reads one service.yaml.
func Load(path string) (*Service, error) { return nil, errors.ErrUnsupported }

// Find loads the service.yaml of NAME below the roots: ROOT/service.yaml or ROOT/*/service.yaml.
func Find(roots []string, name string) (*Service, error) { return nil, errors.ErrUnsupported }

// Release loads releases/NAME/release.yaml of the service.
func (s *Service) Release(name string) (*Release, error) { return nil, errors.ErrUnsupported }

// Releases names the releases of the service, sorted.
func (s *Service) Releases() ([]string, error) { return nil, errors.ErrUnsupported }

// Plan loads a rollback plan of the release, written for an environment; name "" is its plan.
func (r *Release) Plan(name, environment string) (*Plan, error) { return nil, errors.ErrUnsupported }

// Evidence is what judging needs to know of the service.
func (s *Service) Evidence() evidence.Service { return evidence.Service{} }

// Evidence is what the release states of itself.
func (r *Release) Evidence() evidence.Release { return evidence.Release{} }

// Evidence is the plan as a reader sees it.
func (p *Plan) Evidence() evidence.Plan { return evidence.Plan{} }

// SecretValues reads the secrets: the texts to hide, and the value of each by its name.
func (s *Service) SecretValues() (hide []string, values map[string]string, err error) {
	return nil, nil, errors.ErrUnsupported
}

// Files is what a drill of the plan depends on: release.yaml, the plan, migrations, scripts and folders that its steps name.
func (r *Release) Files(p *Plan) []string { return nil }

// Digests is the sha256 of each file, and of each file in each folder, by its path.
func Digests(files ...string) (map[string]string, error) { return nil, errors.ErrUnsupported }

// Words says a check as `backout plan` prints it.
func (c Check) Words() string { return "" }
