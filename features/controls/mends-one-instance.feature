@control @services @gate
Feature: Control: a rollback of the one instance that was paged about

  One instance is rolled back and the others go on crashing in a loop. The proxy takes them out in time for most
  requests, so that few users notice.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Two instances go on crashing
    When release "v2-crashes" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "mends-one-instance"
    Then the drill fails because "service is restored"
