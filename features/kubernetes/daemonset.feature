@kubernetes @gate
Feature: Rolling back a DaemonSet whose pods are renewed when they are deleted

  On each node runs one pod, and who looks after a node decides when it is renewed (OnDelete). The DaemonSet is
  undone, and then its pods are renewed one after the other.

  Background:
    Given the service "nodewatch"
    And 40 journeys per second by 20 users

  Scenario: Every node gets a pod of the old release
    When release "v2-reads-swap" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
