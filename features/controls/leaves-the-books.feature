@control @kubernetes @gate
Feature: Control: a rollback that leaves volumes as they are

  The old code is back and every pod is ready. The files on their volumes are in the form of the bad release, and
  every answer that needs them fails.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The books cannot be read
    When release "v2-new-book" is deployed over "v1-with-a-book"
    Then the trap is there
    When it is rolled back by the plan "leaves-the-books"
    Then the drill fails because "service is restored"
