@kubernetes @operators @gate
Feature: Rolling back on Kubernetes while somebody else starts the same rollback

  The lock of a folder is not seen on another machine. A Lease of Kubernetes is: whoever wants to roll back takes it, renews it while the
  plan runs, and asks before each step whether it is still the holder. The second operator is refused, and told whom to talk to.

  Background:
    Given the service "stand"
    And rollbacks on all machines take turns by a Lease of Kubernetes
    And 60 journeys per second by 30 users

  Scenario: The second operator comes on another machine
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And a second operator on another machine starts the same rollback before step 2
    Then the second operator is refused and told who holds it
    And service is restored within 5 minutes
