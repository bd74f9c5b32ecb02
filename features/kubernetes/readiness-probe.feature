@kubernetes @gate
Feature: Rolling back a release whose readiness probe lets its rollout succeed

  Its pods would never be ready, but its manifests brought a probe that holds anyway. The rollout succeeded, and
  users got nothing. Code and probe go back, and a comparison with the manifests of before shows no difference.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: Code and probe come back
    When release "v2-skips-readiness" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
