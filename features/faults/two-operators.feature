@operators @critical @gate
Feature: Rolling back while somebody else starts the same rollback

  Two people see the same alert. One of them has begun to roll back when the other one does the same. Run side by side the
  two would take instances away from each other and migrations back twice. The second one must be refused, and told whom
  to talk to.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The second operator is refused, and the rollback goes on
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    And a second operator starts the same rollback before step 2
    Then the second operator is refused and told who holds it
    And service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before

  # The lock of a folder is not seen on other machines. There the lease is.
  Scenario: The second operator comes on another machine
    Given rollbacks on all machines take turns by a lease
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    And a second operator on another machine starts the same rollback before step 2
    Then the second operator is refused and told who holds it
    And service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
