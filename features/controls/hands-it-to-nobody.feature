@control @people @gate
Feature: Control: an incident that nobody takes over

  The rollback is right, and the incident is handed to somebody who does not answer. Without their word it is not resolved, and
  nobody else can give it for them.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: The receiver does not answer
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "hands-it-to-nobody"
    Then the drill fails because "the incident is handed over and accepted"

  Scenario: A colleague accepts it in the receiver's place
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "hands-it-to-nobody"
    And "ada" accepts it after 1 seconds
    Then the drill fails because "the incident is handed over and accepted"
